"""Run trials side by side on one rig, each in a place of its own."""

from __future__ import annotations

import os
import pathlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tests.support.chaos.judge import judge, judge_reference
from tests.support.chaos.life import Place, Result
from tests.support.chaos.plan import Life, Planned
from tests.support.chaos.report import Judged
from tests.support.chaos.scenarios import SCENARIOS
from tests.support.rig.faults import UNDISTURBED
from tests.support.rig.rig import Rig

#: Trials side by side: most of a trial is waiting.
AT_A_TIME = 4 * (os.cpu_count() or 1)


class Suite:
    """Runs trials and keeps the undisturbed ones for comparison.

    Args:
        rig: the rig.
        report: receives each verdict as soon as it is known.
        at_a_time: trials side by side.
        tree: the checkout whose operator is tried; None for this one.

    Attributes:
        references: the undisturbed trials by life.
    """

    def __init__(
        self,
        rig: Rig,
        report: Callable[[Judged], None],
        at_a_time: int = AT_A_TIME,
        tree: pathlib.Path | None = None,
    ) -> None:
        self._rig, self._report, self._at_a_time, self._tree = rig, report, at_a_time, tree
        self.references: dict[Life, Result] = {}
        self._tried: list[tuple[Planned, Judged]] = []
        self._unjudged: dict[Life, list[tuple[Planned, Result]]] = {}
        self._places: list[Place] = []
        self._lock = threading.Lock()

    @property
    def judged(self) -> list[Judged]:
        """All verdicts so far."""
        return [judged for _, judged in self._tried]

    def close(self) -> None:
        """End the operators of all places."""
        with self._lock:
            while self._places:
                self._places.pop().close()

    def run_references(self, lives: Iterable[Life]) -> None:
        """Run lives undisturbed."""
        self.run([Planned(life, UNDISTURBED) for life in lives])

    def run_with_references(self, trials: Sequence[Planned]) -> None:
        """Run trials and the undisturbed lives that they are compared with, all side by side."""
        lives = dict.fromkeys(trial.life for trial in trials)
        disturbed = [trial for trial in trials if trial.fault != UNDISTURBED]
        self.run([*disturbed, *(Planned(life, UNDISTURBED) for life in lives if life not in self.references)])

    def run(self, trials: Iterable[Planned], until: float = float("inf")) -> None:
        """Run trials, starting none after `until`, a time of the monotonic clock.

        Twice as many again run side by side of those whose fault lasts long: they wait for most of their time.
        """
        lanes, most = _lanes(trials), (self._at_a_time, 2 * self._at_a_time)
        running: dict[Future[Result], tuple[int, Planned]] = {}
        with ThreadPoolExecutor(sum(most)) as pool:
            while running or (any(lanes) and time.monotonic() < until):
                for number, lane in enumerate(lanes):
                    begun = [lane for lane, _ in running.values()].count(number)
                    while lane and begun < most[number] and time.monotonic() < until:
                        planned, begun = lane.popleft(), begun + 1
                        running[pool.submit(self._one, planned)] = number, planned
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    _, planned = running.pop(future)
                    self._take(planned, future.result())

    def take_missed(self) -> list[Planned]:
        """Forget the trials whose fault did not happen, and return them: a life differs a little each time."""
        missed = [planned for planned, one in self._tried if one.word == "missed"]
        self._tried = [(planned, one) for planned, one in self._tried if one.word != "missed"]
        return missed

    def _one(self, planned: Planned) -> Result:
        scenario, place = planned.life.scenario, self._take_place(planned.life.kind)
        try:
            return place.run(scenario, SCENARIOS[scenario], planned.fault, planned.finder())
        finally:
            if place.is_usable:
                with self._lock:
                    self._places.append(place)
            else:
                place.close()

    def _take_place(self, kind: str) -> Place:
        """Return a place where no trial runs."""
        with self._lock:
            for number, place in enumerate(self._places):
                if place.kind == kind:
                    return self._places.pop(number)
        return Place(self._rig, kind, self._tree)

    def _take(self, planned: Planned, result: Result) -> None:
        """Judge a trial, or keep it until its reference has run."""
        life = planned.life
        if result.fault == UNDISTURBED:
            self.references[life] = result
            self._add(planned, Judged(result, tuple(judge_reference(result))))
            for early in self._unjudged.pop(life, []):
                self._take(*early)
        elif life not in self.references:
            self._unjudged.setdefault(life, []).append((planned, result))
        else:
            problems = tuple(judge(result, self.references[life]))
            self._add(planned, Judged(result, problems, is_reached=result.hit is not None))

    def _add(self, planned: Planned, judged: Judged) -> None:
        self._tried.append((planned, judged))
        self._report(judged)


def _lanes(trials: Iterable[Planned]) -> tuple[deque[Planned], deque[Planned]]:
    """Return the trials with a short fault, and those with a long one, in their order."""
    planned = list(trials)
    return deque(one for one in planned if not one.fault.seconds), deque(one for one in planned if one.fault.seconds)

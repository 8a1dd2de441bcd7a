"""Run trials side by side on one rig: each has a namespace and an operator of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tests.support.chaos.judge import judge, judge_reference
from tests.support.chaos.plan import Life, Planned
from tests.support.chaos.report import Judged
from tests.support.chaos.scenarios import SCENARIOS
from tests.support.chaos.trial import Result, run_trial
from tests.support.rig.faults import UNDISTURBED, Fault
from tests.support.rig.rig import Rig

#: Trials side by side: most of a trial is waiting.
AT_A_TIME = 4 * (os.cpu_count() or 1)


class Suite:
    """Runs trials and keeps the undisturbed ones for comparison.

    Args:
        rig: the rig.
        report: receives each verdict as soon as it is known.
        at_a_time: trials side by side.

    Attributes:
        references: the undisturbed trials by life.
        judged: all verdicts so far.
    """

    def __init__(self, rig: Rig, report: Callable[[Judged], None], at_a_time: int = AT_A_TIME) -> None:
        self._rig, self._report, self._at_a_time = rig, report, at_a_time
        self.references: dict[Life, Result] = {}
        self.judged: list[Judged] = []

    def run_references(self, lives: Iterable[Life]) -> None:
        """Run lives undisturbed."""
        for one in self._run([Planned(life, UNDISTURBED) for life in lives], float("inf")):
            self.references[Life(one.result.scenario, one.result.kind)] = one.result

    def run(self, trials: Iterable[Planned], until: float = float("inf")) -> list[Judged]:
        """Run trials, starting none after `until`, a time of the monotonic clock. Their references must have run."""
        return self._run(list(trials), until)

    def _run(self, trials: list[Planned], until: float) -> list[Judged]:
        done: list[Judged] = []
        waiting, running = list(reversed(trials)), set[Future[Judged]]()
        with ThreadPoolExecutor(self._at_a_time) as pool:
            while running or (waiting and time.monotonic() < until):
                while waiting and len(running) < self._at_a_time and time.monotonic() < until:
                    planned = waiting.pop()
                    running.add(pool.submit(self._one, planned.life, planned.fault))
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    judged = future.result()
                    done.append(judged)
                    self.judged.append(judged)
                    self._report(judged)
        return done

    def _one(self, life: Life, fault: Fault) -> Judged:
        result = run_trial(self._rig, life.scenario, life.kind, SCENARIOS[life.scenario], fault)
        if fault == UNDISTURBED:
            return Judged(result, tuple(judge_reference(result)))
        problems = tuple(judge(result, self.references[life]))
        return Judged(result, problems, is_reached=bool(result.hit))

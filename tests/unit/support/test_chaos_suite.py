"""Trials run side by side, and each is judged when its reference has run."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from tests.support.chaos import suite as suites
from tests.support.chaos.life import Result
from tests.support.chaos.plan import Life, Planned, named
from tests.support.chaos.report import Judged
from tests.support.chaos.suite import Suite
from tests.support.rig.faults import UNDISTURBED, Fault, FaultKind
from tests.support.rig.rig import Rig
from tests.support.rig.writes import Write

LIFE = Life("success", "Dask")
END = {"phase": "Succeeded", "attempts": "1"}
SHORT, LONG = named("success/Dask/kill-after@POST-jobs"), named("success/Dask/away@POST-jobs")


class Played:
    """Trials that end when enough of them run side by side.

    Attributes:
        enough: how many that are.
        most: how many ran side by side at most.
        kinds: of cluster, of each place that was made.
        closed: how many places were closed.
        problems: of each trial.
        misses: how many trials end before their fault happens.
    """

    def __init__(self) -> None:
        self._lock, self._released = threading.Lock(), threading.Event()
        self._running = self.most = 0
        self.enough = 1
        self.kinds: list[str] = []
        self.closed = 0
        self.problems: tuple[str, ...] = ()
        self.misses = 0

    def run(self, scenario: str, kind: str, fault: Fault) -> Result:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            if self._running >= self.enough:
                self._released.set()
        assert self._released.wait(10), f"only {self.most} ran side by side"
        with self._lock:
            self._running -= 1
            is_missed = fault != UNDISTURBED and self.misses > 0
            self.misses -= is_missed
        hit = None if fault == UNDISTURBED or is_missed else Write(1, "POST", "/api/v1/namespaces/n/secrets")
        return Result(scenario, kind, fault, hit=hit, end=END, problems=self.problems)


class PlayedPlace:
    """A place of `Played`."""

    def __init__(self, played: Played, kind: str) -> None:
        self._played, self.kind = played, kind
        self.is_usable = True

    def run(self, scenario: str, _play: Any, fault: Fault, _at: Any) -> Result:
        result = self._played.run(scenario, self.kind, fault)
        self.is_usable = not result.problems
        return result

    def close(self) -> None:
        self._played.closed += 1


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()

    def place(_rig: Rig, kind: str, _tree: Any) -> PlayedPlace:
        played.kinds.append(kind)
        return PlayedPlace(played, kind)

    monkeypatch.setattr(suites, "Place", place)
    return played


def suite(reported: list[Judged], at_a_time: int = 8) -> Suite:
    return Suite(cast("Rig", None), reported.append, at_a_time)


@pytest.mark.usefixtures("played")
def test_trial_is_judged_when_its_reference_has_run() -> None:
    reported: list[Judged] = []
    tried = suite(reported, at_a_time=1)
    tried.run_with_references([SHORT])

    assert [one.result.fault for one in reported] == [UNDISTURBED, SHORT.fault]
    assert [one.word for one in reported] == ["passed", "passed"]
    assert list(tried.references) == [LIFE]


@pytest.mark.usefixtures("played")
def test_reference_runs_once_when_it_is_one_of_the_trials() -> None:
    reported: list[Judged] = []
    suite(reported).run_with_references([Planned(LIFE, UNDISTURBED), SHORT, LONG])

    assert sorted(str(one.result.fault) for one in reported) == sorted(map(str, (UNDISTURBED, SHORT.fault, LONG.fault)))


@pytest.mark.parametrize(("long", "most"), [(0, 2), (5, 6)])
def test_trials_with_a_long_fault_run_besides_the_others(played: Played, long: int, most: int) -> None:
    """Twice as many of them run side by side."""
    trials = [Planned(LIFE, Fault(FaultKind.KILL_AFTER, number)) for number in range(1, 6)]
    trials += [Planned(LIFE, Fault(FaultKind.AWAY, number)) for number in range(1, 1 + long)]
    played.enough = most
    suite([], at_a_time=2).run(trials)

    assert played.most == most


def test_trial_is_tried_again_when_its_fault_did_not_happen(played: Played) -> None:
    tried = suite([], at_a_time=1)
    played.misses = 1
    tried.run_with_references([SHORT, LONG])
    (missed,) = tried.take_missed()
    tried.run([missed])

    assert [one.word for one in tried.judged] == ["passed"] * 3
    assert {one.result.fault for one in tried.judged} == {UNDISTURBED, SHORT.fault, LONG.fault}
    assert tried.take_missed() == []


@pytest.mark.usefixtures("played")
def test_no_trial_starts_when_the_time_is_over() -> None:
    reported: list[Judged] = []
    suite(reported).run([SHORT, LONG], until=0)

    assert reported == []


def test_trials_of_a_kind_share_a_place_one_after_the_other(played: Played) -> None:
    tried = suite([], at_a_time=1)
    tried.run([SHORT, named("success/Ray/kill-after@POST-jobs"), named("cancel/Dask/kill-after@POST-jobs")])
    before = played.closed
    tried.close()

    assert sorted(played.kinds) == ["Dask", "Ray"]
    assert (before, played.closed) == (0, 2)


def test_place_of_a_trial_with_a_problem_is_not_used_again(played: Played) -> None:
    played.problems = ("left: Job subject-1",)
    suite([], at_a_time=1).run([SHORT, named("cancel/Dask/kill-after@POST-jobs")])

    assert played.kinds == ["Dask", "Dask"]
    assert played.closed == 2

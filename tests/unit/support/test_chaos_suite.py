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

LIFE = Life("success", "Dask")
END = {"phase": "Succeeded", "attempts": "1"}
SHORT, LONG = named("success/Dask/kill-after@POST-jobs"), named("success/Dask/away@POST-jobs")


class Played:
    """Trials that end when enough of them run side by side.

    Attributes:
        enough: how many that are.
        most: how many ran side by side at most.
    """

    def __init__(self) -> None:
        self._lock, self._released = threading.Lock(), threading.Event()
        self._running = self.most = 0
        self.enough = 1

    def __call__(self, _rig: Rig, scenario: str, kind: str, _play: Any, fault: Fault, _tree: Any) -> Result:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            if self._running >= self.enough:
                self._released.set()
        assert self._released.wait(10), f"only {self.most} ran side by side"
        with self._lock:
            self._running -= 1
        return Result(scenario, kind, fault, hit="" if fault == UNDISTURBED else "write 1", end=END)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(suites, "run_trial", played)
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


@pytest.mark.parametrize(("long", "most"), [(0, 2), (5, 4)])
def test_trials_with_a_long_fault_run_besides_the_others(played: Played, long: int, most: int) -> None:
    trials = [Planned(LIFE, Fault(FaultKind.KILL_AFTER, number)) for number in range(1, 6)]
    trials += [Planned(LIFE, Fault(FaultKind.AWAY, number)) for number in range(1, 1 + long)]
    played.enough = most
    suite([], at_a_time=2).run(trials)

    assert played.most == most


@pytest.mark.usefixtures("played")
def test_no_trial_starts_when_the_time_is_over() -> None:
    reported: list[Judged] = []
    suite(reported).run([SHORT, LONG], until=0)

    assert reported == []

"""A sample of the chaos trials: lives with one fault each end as the same life undisturbed.

`make chaos` runs all of them; `tests.support.chaos` says what a trial is.
"""

from __future__ import annotations

import itertools

import pytest

from tests.support.chaos.plan import Life, Planned, plan
from tests.support.chaos.report import Judged
from tests.support.chaos.suite import Suite
from tests.support.chaos.trial import Result
from tests.support.rig.faults import UNDISTURBED, FaultKind
from tests.support.rig.rig import Rig

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

_SEED = 20261126
#: The sample's faults happen within this share of the writes.
_EARLY = 0.7
#: Lives of the sample, with the number of faults that are injected into each.
_FAULTS = {
    Life("success", "Dask"): 4,
    Life("success", "Ray"): 3,
    Life("cancel", "Dask"): 3,
    Life("delete-running", "Ray"): 2,
    Life("suspend-resume", "Dask"): 3,
    Life("scaling", "Dask"): 3,
    Life("scaling", "Ray"): 2,
}
_TRIALS = [(life, number) for life, faults in _FAULTS.items() for number in range(faults)]


@pytest.fixture(scope="module")
def suite(rig: Rig) -> Suite:
    """All trials of the sample, run side by side."""
    suite = Suite(rig, lambda _judged: None)
    suite.run_references(_FAULTS)
    planned = [trial for trial in plan(suite.references, _SEED) if _is_early(trial, suite.references[trial.life])]
    suite.run(
        trial
        for life, faults in _FAULTS.items()
        for trial in itertools.islice((one for one in planned if one.life == life), faults)
    )
    return suite


def _is_early(trial: Planned, reference: Result) -> bool:
    """Whether each course of the life has the write: how many status updates there are depends on timing."""
    stale = trial.fault.kind is FaultKind.STALE_LISTS
    writes = [write for write in reference.writes if write.startswith("DELETE") or not stale]
    return trial.fault.write <= max(1, int(_EARLY * len(writes)))


def of_life(suite: Suite, life: Life) -> list[Judged]:
    return [one for one in suite.judged if (one.result.scenario, one.result.kind) == (life.scenario, life.kind)]


@pytest.mark.parametrize("life", _FAULTS, ids=str)
def test_run_needs_no_more_pods_than_it_has_when_undisturbed(suite: Suite, life: Life) -> None:
    reference, *_ = of_life(suite, life)

    assert not reference.problems, reference.text()


@pytest.mark.parametrize(("life", "number"), _TRIALS, ids=lambda value: str(value))
def test_run_ends_as_undisturbed_when_a_fault_happens(suite: Suite, life: Life, number: int) -> None:
    reference, *disturbed = sorted(of_life(suite, life), key=lambda one: one.result.fault != UNDISTURBED)
    assert number < len(disturbed), f"the undisturbed life is broken:\n{reference.text()}"
    judged = disturbed[number]

    assert not judged.problems, judged.text()
    assert judged.is_reached, f"{judged.result.name}: the operator made no such write"

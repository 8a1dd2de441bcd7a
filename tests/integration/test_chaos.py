"""A sample of the chaos trials: lives with one fault each end as the same life undisturbed.

`make chaos` runs all of them; `tests.support.chaos` says what a trial is. The sample has each kind of fault, and both
kinds of clusters.
"""

from __future__ import annotations

import pytest

from tests.support.chaos.life import Result
from tests.support.chaos.plan import Life, Planned, named
from tests.support.chaos.report import Judged
from tests.support.chaos.suite import Suite
from tests.support.rig.faults import UNDISTURBED, Fault
from tests.support.rig.rig import Rig

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

#: The faults that last long come first: they keep no CPU busy.
TRIALS = [
    named(trial)
    for trial in (
        "success/Dask/freeze-watches@POST-daskclusters",
        "success/Ray/away@POST-jobs",
        "success/Dask/cut-watches@PUT-status~3",
        "suspend-resume/Dask/kill-after@DELETE-leases",
        "suspend-resume/Dask/stale-lists@DELETE-leases",
        "suspend-resume/Dask/refuse-500@POST-leases~2",
        "scaling/Dask/drop-answer@PATCH-daskclusters",
        "scaling/Dask/kill-before@DELETE-deployments",
        "success/Dask/kill-before@POST-daskclusters",
        "success/Dask/refuse-409@POST-secrets",
        "success/Dask/refuse-404@DELETE-leases",
        "success/Ray/drop-answer@POST-rayclusters",
        "success/Ray/refuse-403@POST-jobs",
        "cancel/Dask/refuse-429@DELETE-leases",
        "cancel/Dask/kill-after@PUT-status~4",
        "delete-running/Ray/kill-after@POST-roles",
        "delete-running/Ray/refuse-422@POST-rolebindings",
    )
]
LIVES = list(dict.fromkeys(trial.life for trial in TRIALS))


@pytest.fixture(scope="module")
def suite(rig: Rig) -> Suite:
    """All trials of the sample, run side by side."""
    suite = Suite(rig, lambda _judged: None)
    suite.run_with_references(TRIALS)
    return suite


def verdict(suite: Suite, life: Life, fault: Fault) -> Judged:
    def is_it(result: Result) -> bool:
        return (result.scenario, result.kind, result.fault) == (life.scenario, life.kind, fault)

    return next(one for one in suite.judged if is_it(one.result))


@pytest.mark.parametrize("life", LIVES, ids=str)
def test_run_lives_as_expected_when_undisturbed(suite: Suite, life: Life) -> None:
    judged = verdict(suite, life, UNDISTURBED)

    assert not judged.problems, judged.text()


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_run_ends_as_undisturbed_when_a_fault_happens(suite: Suite, trial: Planned) -> None:
    judged = verdict(suite, trial.life, trial.fault)

    assert not judged.problems, judged.text()
    assert judged.is_reached, f"{judged.result.name}: the operator made no such write"

"""A sample of the chaos trials: a life of a run with one fault ends as the same life without it.

`make chaos` runs one trial of each equivalence class, and `tests.support.chaos` defines a trial. The sample has each
fault on each kind of cluster, and the trials that find the bugs of `tests/support/chaos/mutants.yaml`.
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

#: The faults that last long come first: they use little CPU.
TRIALS = [
    named(trial)
    for trial in (
        "success/Dask/freeze-watches@POST-daskclusters",
        "cancel/Ray/freeze-watches@DELETE-leases",
        "delete-running/Dask/away@PUT-status-Running",
        "success/Ray/away@POST-jobs",
        "success/Dask/cut-watches@PUT-status-Running",
        "expiry/Ray/cut-watches@POST-rayclusters",
        "suspend-resume/Dask/kill-after@DELETE-leases",
        "cancel/Dask/kill-after@PUT-status-Stopping",
        "delete-starting/Dask/kill-after@POST-daskclusters",
        "delete-running/Ray/kill-after@POST-roles",
        "scaling/Dask/kill-before@DELETE-deployments",
        "success/Dask/kill-before@POST-daskclusters",
        "suspend-resume/Ray/kill-before@POST-rayclusters~2",
        "suspend-resume/Dask/stale-lists@DELETE-leases",
        "cancel/Ray/stale-lists@DELETE-leases",
        "scaling/Dask/drop-answer@PATCH-daskclusters",
        "success/Ray/drop-answer@POST-rayclusters",
        "failure/Dask/refuse-403@POST-roles",
        "success/Ray/refuse-403@POST-jobs",
        "suspend-resume/Ray/refuse-404@DELETE-leases",
        "success/Dask/refuse-404@DELETE-leases",
        "success/Dask/refuse-409@POST-secrets",
        "recreate/Ray/refuse-409@PUT-status-Starting",
        "cancel/Dask/refuse-422@POST-daskclusters",
        "delete-running/Ray/refuse-422@POST-rolebindings",
        "cancel/Dask/refuse-429@DELETE-leases",
        "cancel/Ray/refuse-429@POST-rayclusters",
        "suspend-resume/Dask/refuse-500@POST-leases~2",
        "scaling/Ray/refuse-500@POST-networkpolicies",
        "shared-use/Dask/kill-before@POST-deployments",
        "shared-use/Dask/drop-answer@PATCH-daskworkergroups",
        "shared-suspend/Ray/kill-after@POST-rolebindings~2",
        "shared-suspend/Ray/stale-lists@DELETE-leases",
        "shared-upgrade/Dask/kill-after@PUT-status-Upgrading",
    )
]
LIVES = list(dict.fromkeys(trial.life for trial in TRIALS))


@pytest.fixture(scope="module")
def suite(rig: Rig) -> Suite:
    """All trials of the sample, run at the same time."""
    suite = Suite(rig, lambda _judged: None)
    try:
        suite.run_with_references(TRIALS)
    finally:
        suite.close()
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

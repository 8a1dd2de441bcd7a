"""A container beside the driver that never ends: the next attempt begins, and the run ends with its last one."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete
from flowcluster_operator.policies.lingering_containers import LINGERING_SECONDS
from flowcluster_operator.resources import POD, Object
from tests.support.makers import ago, ended, job, observed, outcome, pod, spec
from tests.support.plans import CHILDREN, plan_for, settled, started

FAILED = ended(1, outcome("Failed", "FlowFailed", "no", 1))


def beside(state: Object, seconds: float, *, phase: str = "Running", **more: Any) -> Object:
    """A driver's pod that has had this state for some seconds, and a container that runs."""
    made = pod("driver", state, phase=phase, **more)
    (ready,) = (item for item in made["status"]["conditions"] if item["type"] == "Ready")
    ready["lastTransitionTime"] = ago(seconds)
    made["status"]["containerStatuses"].append({"name": "proxy", "state": {"running": {}}, "restartCount": 0})
    return made


def seen(limit: int, *drivers: Object) -> Observed:
    """A run that can be tried again so often, with the pods of its attempts."""
    body = {**spec(workers=1), "flow": {"entrypoint": "a.py:b", "backoffLimit": limit}}
    status = started(age=500, phase="Running", readyTime=ago(400), flow={"job": "j"})
    pods = [*drivers, pod("scheduler"), pod("worker")]
    return observed(body, status=status, pods=pods, **{**CHILDREN, "job": job(body)})


def deleted(made: Observed) -> list[str]:
    """Names of the pods that a pass deletes."""
    return [item.name for item in plan_for(made).actions if isinstance(item, Delete) and item.resource is POD]


@pytest.mark.parametrize(
    ("driver", "is_deleted"),
    [
        (beside(FAILED, LINGERING_SECONDS + 1), True),
        (beside(ended(137, "", "OOMKilled"), LINGERING_SECONDS + 1), True),
        (beside(FAILED, LINGERING_SECONDS - 1), False),
        (beside({"running": {}}, 500), False),
        (beside(FAILED, 500, phase="Failed"), False),
        (beside(FAILED, 500, deleted=True), False),
    ],
    ids=["failed", "killed", "a moment ago", "runs", "whole pod ended", "deleted"],
)
def test_pod_of_a_failed_attempt_is_deleted_when_a_container_beside_the_driver_runs_on(
    driver: Object, is_deleted: bool
) -> None:
    assert deleted(seen(1, driver)) == ([driver["metadata"]["name"]] if is_deleted else [])


def test_pod_of_an_earlier_attempt_stays() -> None:
    first, second = beside(FAILED, 500, uid="a", age=500), pod("driver", uid="b")

    assert deleted(seen(2, first, second)) == []


@pytest.mark.parametrize("seconds", [0.0, LINGERING_SECONDS - 2])
def test_pass_is_due_when_a_container_beside_the_driver_has_run_on_for_too_long(seconds: float) -> None:
    requeue = plan_for(seen(1, beside(FAILED, seconds))).requeue

    assert requeue is not None
    assert requeue <= max(LINGERING_SECONDS - seconds, 1)


@pytest.mark.parametrize(
    ("state", "limit", "phase"), [(ended(0, outcome()), 1, "Succeeded"), (FAILED, 0, "Failed")], ids=["well", "badly"]
)
def test_run_ends_with_its_last_attempt_although_a_container_beside_the_driver_runs_on(
    state: Object, limit: int, phase: str
) -> None:
    assert settled(seen(limit, beside(state, 0)))["finalPhase"] == phase

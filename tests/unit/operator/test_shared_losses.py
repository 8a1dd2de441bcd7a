"""A shared cluster, pass by pass, when it is lost and rebuilt, and when it is deleted."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_operator.model.failures import RepeatedFailure
from flowcluster_operator.model.plan import Delete
from flowcluster_operator.resources import LEASE
from tests.support.makers import ago
from tests.support.shared import (
    NAME,
    bare,
    gone,
    lease,
    objects,
    plan_for,
    pod,
    serving,
    spec,
    status_after,
)

Body = dict[str, Any]
BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
STARTING: Body = {"phase": "Starting", "kind": "Dask", "startTime": ago(5), "restarts": 0}


# Lost.

LOST_LEADERS: dict[str, list[Body]] = {
    "gone": [],
    "terminating": [pod("scheduler", deleted=True)],
    "restarted": [pod("scheduler", restarts=1)],
    "other pod": [pod("scheduler", uid="pod-other")],
}


@pytest.mark.parametrize("how", LOST_LEADERS)
def test_lost_scheduler_is_counted_and_replaced_in_place_on_dask(how: str) -> None:
    seen = serving(pods=[*LOST_LEADERS[how], pod("worker")])
    plan = plan_for(seen)
    assert plan.status is not None

    assert plan.actions == ()
    assert (plan.status["phase"], plan.status["reason"]) == ("Rebuilding", c.CLUSTER_LOST)
    assert (plan.status["restarts"], plan.status["startTime"]) == (1, ago(400))
    assert [event.type for event in plan.events] == ["Warning"]


def test_next_scheduler_that_is_ready_ends_the_rebuilding() -> None:
    lost = status_after(serving(pods=[pod("worker")]))
    status = status_after(serving(status=lost, pods=[pod("scheduler", uid="pod-next"), pod("worker")]))

    assert (status["phase"], status["restarts"]) == ("Ready", 1)
    assert status["scheduler"]["uid"] == "pod-next"
    assert "lostTime" not in status
    assert status["story"][-1]["reason"] == c.REBUILT


def test_scheduler_that_stays_away_has_the_cluster_deleted_and_begun_again() -> None:
    lost = {**status_after(serving(pods=[pod("worker")])), "lostTime": ago(61)}
    status = status_after(serving(status=lost, pods=[pod("worker")]))

    assert status["phase"] == "Rebuilding"
    assert "startTime" not in status


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": None},
        {"cluster": {**objects()[0], "metadata": {**objects()[0]["metadata"], "deletionTimestamp": ago(1)}}},
        {"lease": None},
    ],
)
def test_lost_cluster_or_lease_has_everything_deleted_and_begun_again(changes: Body) -> None:
    status = status_after(serving(**changes))

    assert (status["phase"], status["restarts"]) == ("Rebuilding", 1)
    assert "startTime" not in status
    begun = status_after(bare(status=status, verified_gone=True))
    assert (begun["phase"], begun["restarts"]) == ("Starting", 1)


def test_lost_head_of_ray_has_everything_deleted_and_begun_again() -> None:
    status = status_after(serving(spec("Ray"), pods=[pod("worker")]))

    assert (status["phase"], status["restarts"]) == ("Rebuilding", 1)
    assert "startTime" not in status


def test_losses_that_follow_each_other_quickly_are_rebuilt_after_growing_pauses() -> None:
    waits = []
    for losses in range(1, 9):
        status = {"phase": "Rebuilding", "kind": "Dask", "quickLosses": losses, "lostTime": ago(0), "restarts": losses}
        waits.append(plan_for(bare(status=status, verified_gone=True)).requeue)

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_loss_after_long_service_is_not_a_quick_one() -> None:
    body: Body = {"pods": [pod("worker")]}
    status = serving().base.written
    assert status is not None
    quick = {**status, "quickLosses": 3, "readyTime": ago(100)}

    assert status_after(serving(status={**quick, "readyTime": ago(1000)}, **body))["quickLosses"] == 1
    assert status_after(serving(status=quick, **body))["quickLosses"] == 4


# Gone.


def test_deleted_cluster_is_left_to_garbage_collection() -> None:
    plan = plan_for(gone(serving()))

    assert plan.status is None
    assert [(action.resource, action.name) for action in plan.actions if isinstance(action, Delete)] == [(LEASE, NAME)]


def test_lease_of_another_owner_is_not_deleted() -> None:
    foreign = lease()
    foreign["metadata"]["ownerReferences"][0]["kind"] = "FlowRun"

    assert plan_for(gone(bare(lease=foreign))).actions == ()


def test_failing_passes_are_reported() -> None:
    status = status_after(serving(failure=RepeatedFailure(c.API_ERROR, "429", 60.0)))

    assert (status["reason"], status["message"]) == (c.API_ERROR, "429")

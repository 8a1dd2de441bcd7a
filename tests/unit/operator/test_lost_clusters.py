"""A run whose cluster is lost begins again on another one, as often as its backoffLimit allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, Delete
from flowcluster_operator.model.references import Parent
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.backoff_limit import DISRUPTED_CLUSTERS
from flowcluster_operator.resources import JOB
from tests.support.lost_clusters import FAILED, LOSSES, Body, body, disrupted, lost, using
from tests.support.makers import (
    KEY,
    KEYS,
    access,
    ago,
    cluster,
    ended,
    job,
    lease,
    observed,
    outcome,
    pod,
    spec,
    stored,
)
from tests.support.plans import CHILDREN, plan_for, settled, started

#: A Lease that a client has deleted in the foreground.
GOING = lease()


GOING["metadata"] |= {"deletionTimestamp": ago(1), "finalizers": ["foregroundDeletion"]}


@pytest.mark.parametrize("how", LOSSES)
def test_loss_begins_the_run_again_when_an_attempt_is_left(how: str) -> None:
    status = settled(lost(how, 1))

    assert (status["phase"], status["reason"]) == ("Starting", c.CLUSTER_LOST)
    assert status["flow"] == {"attempts": 1, "endedAttempts": 1, "failedAttempts": 1, "lostClusters": 1}
    assert {"readyTime", "display"} & set(status) == set()
    assert status["startTime"] == ago(500), "the whole run has one deadline"
    assert status["cluster"]["peakWorkers"] == 2


def test_counts_of_the_lost_attempt_stay_until_the_next_one_counts() -> None:
    counts = {"total": 5, "running": 2, "completed": 3, "failed": 0}
    status = settled(lost("gone", 1, using(tasks=counts)))

    assert status["flow"]["tasks"] == {**counts, "running": 0}
    assert "attempt 1 ended: " in status["story"][-1]["message"]
    assert "another cluster follows (1 of 1 retries)" in status["story"][-1]["message"]


@pytest.mark.parametrize("how", LOSSES)
def test_loss_deletes_nothing_before_it_is_recorded(how: str) -> None:
    assert plan_for(lost(how, 1)).actions == ()


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize(("limit", "earlier"), [(0, 0), (1, 1), (3, 3)])
def test_loss_ends_the_run_when_no_attempt_is_left(how: str, limit: int, earlier: int) -> None:
    status = settled(lost(how, limit, using(failedAttempts=earlier)))

    assert (status["phase"], status["finalPhase"], status["reason"]) == ("Stopping", "Failed", "ClusterLost")


@pytest.mark.parametrize(
    ("drivers", "counted"),
    [
        ([pod("driver")], 1),
        ([pod("driver", FAILED)], 1),
        ([pod("driver", FAILED, uid="a", age=30), pod("driver", uid="b")], 2),
        ([pod("driver", FAILED, uid="a", age=30), pod("driver", FAILED, uid="b")], 2),
        ([disrupted(pod("driver", ended(143), uid="a", age=30)), pod("driver", uid="b")], 1),
    ],
    ids=["runs", "failed of it", "failed before", "failed before and of it", "drained before"],
)
def test_attempt_that_the_loss_ended_counts_once(drivers: list[Body], counted: int) -> None:
    status = settled(lost("restarted", 5, None, *drivers))

    assert (status["flow"]["failedAttempts"], status["flow"]["attempts"]) == (counted, len(drivers))


def test_driver_that_could_not_start_its_flow_is_not_tried_on_another_cluster() -> None:
    status = settled(lost("restarted", 5, None, pod("driver", ended(222))))

    assert status["phase"] == "Stopping"


def test_flow_that_succeeded_before_the_loss_has_succeeded() -> None:
    assert settled(lost("restarted", 5, None, pod("driver", ended(0, outcome()))))["finalPhase"] == "Succeeded"


@pytest.mark.parametrize("lost_before", range(DISRUPTED_CLUSTERS + 1))
def test_cluster_lost_to_a_drain_does_not_count_for_some_times(lost_before: int) -> None:
    """As with drivers: the drain of a node is not a failure of the flow."""
    scheduler = disrupted(pod("scheduler", deleted=True))
    seen = lost("leaves", 0, using(lostClusters=lost_before))
    status = settled(dataclasses.replace(seen, pods=(pod_facts(scheduler), pod_facts(pod("driver")))))

    if lost_before < DISRUPTED_CLUSTERS:
        assert (status["phase"], status["flow"]["failedAttempts"]) == ("Starting", 0)
    else:
        assert (status["phase"], status["reason"]) == ("Stopping", "ClusterLost")


@pytest.mark.parametrize("parent", [None, Parent("parent", "account", "keys", is_over=False)])
def test_run_whose_driver_is_elsewhere_ends_with_its_cluster(parent: Parent | None) -> None:
    """That driver has to learn that what it computed is gone."""
    status = using()
    del status["flow"]
    driver = DriverHeartbeat("me", None, 0.0, 0.0)
    seen = observed(
        spec(flow=False), status=status, cluster=cluster(), lease=lease("me"), driver=driver, parent=parent,
        pods=[pod("scheduler", restarts=1)],
    )  # fmt: skip

    assert settled(seen)["reason"] == "ClusterLost"


def rebuilding(limit: int = 1, *, age: float = 10, **more: Any) -> Observed:
    """A run whose cluster was lost, with what is left of it."""
    status = settled(lost("restarted", limit)) | {"lostTime": ago(age)}
    given = more.pop("body", None) or body(limit)
    children = {**CHILDREN, "job": job(body(limit)), "pods": [pod("scheduler", restarts=1)], **more}
    return observed(given, status=status, **children)


def test_children_of_a_lost_cluster_are_deleted_before_another_one_is_created() -> None:
    plan = plan_for(rebuilding())

    assert [action.resource.kind for action in plan.actions if isinstance(action, Delete)] == ["Lease"]
    assert not any(isinstance(action, Create) for action in plan.actions)
    assert plan.requeue


@pytest.mark.parametrize("end", [FAILED, ended(0, outcome())])
def test_end_of_a_driver_that_is_being_deleted_is_ignored(end: Body) -> None:
    plan = plan_for(rebuilding(pods=[pod("driver", end)]))

    assert (plan.status or {}).get("phase") != "Stopping"


def test_finalizer_that_holds_the_lost_cluster_is_shown() -> None:
    held = cluster(deletionTimestamp=ago(60), finalizers=["example.com/hold"])
    status = settled(rebuilding(cluster=held, pods=[]))

    assert "waits for its finalizer example.com/hold" in status["message"]


def empty(status: Body, limit: int = 1) -> Observed:
    return dataclasses.replace(observed(body(limit), status=status), verified_gone=True)


def test_next_cluster_is_begun_when_nothing_is_left() -> None:
    seen = rebuilding()
    assert seen.run is not None
    status = settled(empty(seen.run["status"]))

    assert (status["phase"], status["reason"]) == ("Starting", c.WAITING)
    assert status["rebuildTime"] == ago(0)
    assert "lostTime" not in status


@pytest.mark.parametrize(("limit", "left"), [(1, 0), (3, 2)])
def test_job_of_the_next_cluster_has_the_attempts_that_are_left(limit: int, left: int) -> None:
    status = started(flow={"attempts": 1, "endedAttempts": 1, "failedAttempts": 1, "lostClusters": 1})
    plan = plan_for(observed(body(limit), status=status, lease=lease(), access=access(), credentials=KEYS))
    (made,) = (action.body for action in plan.actions if isinstance(action, Create) and action.resource is JOB)

    assert made["spec"]["backoffLimit"] == left


@pytest.mark.parametrize(("seconds", "limit", "is_over"), [(30, 60, False), (70, 60, True)])
def test_start_deadline_counts_from_the_loss(seconds: float, limit: int, is_over: bool) -> None:
    """While what is left is deleted, and again from when the next cluster is begun."""
    left = rebuilding(age=seconds, body=body(1, startDeadlineSeconds=limit))
    begun = started(age=5000, rebuildTime=ago(seconds), flow={"attempts": 1})
    next_one = observed(body(1, startDeadlineSeconds=limit), status=begun, **CHILDREN)

    for seen in (left, next_one):
        plan = plan_for(seen)
        assert ((plan.status or {}).get("phase") == "Stopping") is is_over
        if is_over:
            assert plan.status is not None
            assert plan.status["reason"] == c.START_DEADLINE_EXCEEDED


def test_deadline_of_the_whole_run_counts_through_losses() -> None:
    status = settled(rebuilding(body=body(1, activeDeadlineSeconds=400)))

    assert (status["phase"], status["reason"]) == ("Stopping", c.DEADLINE_EXCEEDED)


def test_run_that_is_suspended_while_it_begins_again_resumes_with_its_counts() -> None:
    suspended = settled(rebuilding(body=body(1, suspend=True)))
    resumed = settled(empty(suspended))

    assert suspended["phase"] == "Suspended"
    assert {"lostTime", "startTime"} & set(suspended) == set()
    assert (resumed["phase"], resumed["flow"]["failedAttempts"]) == ("Starting", 1)


class TestLease:
    """The Lease controls all children of a run, so its deletion also deletes them."""

    @pytest.mark.parametrize("status", [started(), using()])
    @pytest.mark.parametrize("left", [{"orphans": (cluster(), job())}, {"lease": GOING, "cluster": cluster()}])
    def test_loss_begins_the_run_again_whatever_of_it_is_known(self, status: Body, left: Body) -> None:
        """Also before the status names the cluster."""
        found = settled(observed(body(1), status=status, **left))

        assert (found["phase"], found["reason"], "lostTime" in found) == ("Starting", c.CLUSTER_LOST, True)
        assert "the run's Lease was deleted" in found["message"]

    def test_loss_is_that_of_the_driver_when_the_run_has_no_cluster(self) -> None:
        alone = {"flow": {"entrypoint": "a.py:b", "backoffLimit": 1}}
        found = settled(observed(alone, status=started(flow={"job": "j"})))

        assert (found["finalPhase"], found["reason"]) == ("Failed", "DriverLost")
        assert "the run's Lease was deleted" in found["message"]

    def test_driver_that_completed_before_has_completed(self) -> None:
        alone = {"flow": {"entrypoint": "a.py:b"}}
        seen = observed(alone, status=started(flow={"job": "j"}), pods=[pod("driver", ended(0, outcome()))])

        assert settled(seen)["reason"] == "Succeeded"

    def test_run_without_children_gets_another_lease(self) -> None:
        """dask-kubernetes can create a worker group for a cluster of an earlier life."""
        late = stored({"kind": "DaskWorkerGroup", "metadata": {"name": "late", "namespace": KEY.namespace}})
        (action,) = plan_for(observed(body(0), status=started(), orphans=(late,))).actions

        assert isinstance(action, Create)
        assert action.resource.kind == "Lease"

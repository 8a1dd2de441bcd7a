"""A run whose cluster is lost begins again on another one, as often as its backoffLimit allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, Delete, Plan
from flowcluster_operator.model.references import Parent
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.backoff_limit import DISRUPTED_CLUSTERS
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.resources import JOB
from flowcluster_operator.specs import parse
from tests.support.fake_api.defaults import stored_status
from tests.support.makers import (
    KEY,
    KEYS,
    NOW,
    SETTINGS,
    access,
    ago,
    cluster,
    deployment,
    ended,
    job,
    lease,
    observed,
    outcome,
    pod,
    run,
    spec,
    stored,
)
from tests.support.plans import CHILDREN, plan_for, settled, started

Body = dict[str, Any]
FAILED = ended(1, outcome("Failed", "FlowFailed", "no", 1))
DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "a drain"}


def disrupted(made: Body) -> Body:
    made["status"]["conditions"].append(DRAINED)
    return made


def body(limit: int, **more: Any) -> Body:
    return {**spec(**more), "flow": {"entrypoint": "a.py:b", "backoffLimit": limit}}


def using(**flow: Any) -> Body:
    """The status of a run that uses its cluster."""
    scheduler = {"pod": "scheduler-1", "uid": "pod-scheduler", "restarts": 0}
    return started(
        age=500, phase="Running", readyTime=ago(400),
        cluster={"kind": "Dask", "name": "c", "scheduler": scheduler, "peakWorkers": 2, "workerSeconds": 9},
        flow={"job": "j", **flow},
    )  # fmt: skip


LOSSES: dict[str, Body] = {
    "restarted": {"pods": [pod("scheduler", restarts=1)]},
    "gone": {"pods": []},
    "leaves": {"pods": [pod("scheduler", deleted=True)]},
    "deleted": {"pods": [pod("scheduler")], "cluster": None},
    "being deleted": {"pods": [pod("scheduler")], "cluster": cluster(deletionTimestamp=ago(1))},
    "no Lease": {"pods": [pod("scheduler")], "lease": None},
}


#: A Lease that a client has deleted in the foreground.
GOING = lease()
GOING["metadata"] |= {"deletionTimestamp": ago(1), "finalizers": ["foregroundDeletion"]}


def lost(how: str, limit: int, status: Body | None = None, *drivers: Body, **more: Any) -> Observed:
    change = LOSSES[how]
    pods = [*change["pods"], *(drivers or [pod("driver")])]
    children = {**CHILDREN, "job": job(body(limit)), **change, "pods": pods, **more}
    return observed(body(limit), status=status or using(), **children)


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
    """As with drivers: a node that is drained is no failure of the flow."""
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


def test_what_is_left_is_deleted_before_another_cluster_is_begun() -> None:
    plan = plan_for(rebuilding())

    assert [action.resource.kind for action in plan.actions if isinstance(action, Delete)] == ["Lease"]
    assert not any(isinstance(action, Create) for action in plan.actions)
    assert plan.requeue


@pytest.mark.parametrize("end", [FAILED, ended(0, outcome())])
def test_end_of_the_driver_that_is_deleted_is_of_no_account(end: Body) -> None:
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


class Life:
    """A run, simulated: what the operator decides happens, and so does what the API server and the Job do."""

    def __init__(self, limit: int) -> None:
        self.spec, self.limit = body(limit), limit
        self.status: Body | None = None
        self.cluster = self.job = self.lease = False
        self.pods: list[Body] = []
        self.drivers = self.clusters = 0

    @property
    def phase(self) -> str:
        return str((self.status or {}).get("phase"))

    def settle(self) -> None:
        """Make passes until none follows immediately."""
        for _ in range(40):
            plan = self._pass()
            if not plan.actions and plan.status is None:
                return
        raise AssertionError(f"passes do not end: {self.status}")

    def observed(self) -> Observed:
        flow_run = run(self.spec, self.status)
        parsed, _ = parse(flow_run)
        is_empty = not (self.cluster or self.job or self.lease)
        made = job(self.spec)
        if self.job:
            made["spec"]["backoffLimit"] = self.limit
        return Observed(
            key=KEY, run=flow_run, spec=parsed, cluster=cluster() if self.cluster else None,
            job=self._judged(made) if self.job else None,
            lease=lease() if self.lease else None, access=access() if self.lease else (),
            credentials=KEYS if self.lease else None,
            deployments=(deployment(), *(deployment("worker", number=n) for n in (1, 2))) if self.cluster else (),
            pods=tuple(pod_facts(item) for item in self.pods), verified_gone=is_empty,
        )  # fmt: skip

    def _judged(self, made: Body) -> Body:
        is_failed = self._counted() > self.limit
        return {**made, "status": {"conditions": [{"type": "Failed", "status": "True"}] if is_failed else []}}

    def _counted(self) -> int:
        facts = [pod_facts(item) for item in self._of("driver")]
        return sum(item.ended is not None and item.disrupted is None for item in facts)

    def _of(self, component: str) -> list[Body]:
        return [item for item in self.pods if item["metadata"]["name"].startswith(component)]

    def _pass(self) -> Plan:
        plan = decide(self.observed(), SETTINGS, NOW)
        if plan.status is not None:
            self.status = stored_status(plan.status)
        for action in plan.actions:
            if isinstance(action, Create):
                self._create(action)
            elif isinstance(action, Delete):
                self.cluster = self.job = self.lease = False
                self.pods = []
        return plan

    def _create(self, action: Create) -> None:
        if action.resource.kind == desired_lease(KEY)["kind"]:
            self.lease = True
        if action.resource.kind == "DaskCluster":
            self.cluster, self.clusters = True, self.clusters + 1
            self.pods += [pod("scheduler", uid=f"s{self.clusters}"), *(pod("worker", uid=f"w{n}") for n in (1, 2))]
        if action.resource is JOB:
            self.job, self.limit = True, action.body["spec"]["backoffLimit"]
            self.start_driver()

    def start_driver(self) -> None:
        self.drivers += 1
        self.pods.append(pod("driver", uid=f"d{self.drivers}", age=1000 - self.drivers))

    def end_driver(self, state: Body, *, drained: bool = False) -> None:
        """End the driver that runs; the Job starts another one if it has attempts left."""
        if not (drivers := self._of("driver")):
            return
        last = drivers[-1]
        last["status"]["containerStatuses"][0]["state"] = state
        if drained:
            disrupted(last)
        self.settle()
        if self.job and self._counted() <= self.limit:
            self.start_driver()

    def expected(self, event: str, flow: Body) -> int | None:
        """Return the attempts that count after this event; None where it loses no cluster."""
        if event not in ("lose", "drain", "delete"):
            return None
        earlier = [pod_facts(item) for item in self._of("driver")[:-1]]
        failed = sum(item.ended is not None and item.disrupted is None for item in earlier)
        is_free = event == "drain" and flow.get("lostClusters", 0) < DISRUPTED_CLUSTERS
        return int(flow.get("failedAttempts", 0)) + failed + (0 if is_free else 1)

    def lose(self, *, drained: bool = False) -> None:
        """Restart the scheduler, or drain its node."""
        for item in self._of("scheduler"):
            item["status"]["containerStatuses"][0]["restartCount"] = 1
            if drained:
                disrupted(item)


EVENTS = st.lists(
    st.sampled_from(["lose", "lose", "drain", "fail", "evict driver", "delete", "suspend", "resume", "pass"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 3), EVENTS)
def test_counts_are_right_in_every_sequence_and_the_run_ends(limit: int, events: list[str]) -> None:
    life = Life(limit)
    life.settle()
    for event in [*events, "resume", *["lose"] * (limit + 1)]:
        if life.phase in {"Stopping", *c.FINAL_PHASES}:
            break
        before = dict((life.status or {}).get("flow") or {})
        expected = life.expected(event, before) if life.cluster else None
        match event:
            case "lose":
                life.lose()
            case "drain":
                life.lose(drained=True)
            case "fail":
                life.end_driver(FAILED)
            case "evict driver":
                life.end_driver(ended(143), drained=True)
            case "delete":
                life.cluster = False
                life.pods = [item for item in life.pods if item["metadata"]["name"].startswith("driver")]
            case "suspend" | "resume":
                life.spec = {**life.spec, "suspend": event == "suspend"}
        life.settle()
        flow = (life.status or {}).get("flow") or {}
        assert flow.get("attempts", 0) >= before.get("attempts", 0)
        assert flow.get("failedAttempts", 0) <= limit
        assert flow.get("lostClusters", 0) <= limit + DISRUPTED_CLUSTERS
        if life.job:
            assert life.limit == limit - flow.get("failedAttempts", 0)
        if expected is not None and expected <= limit:
            assert (flow["failedAttempts"], flow["lostClusters"]) == (expected, before.get("lostClusters", 0) + 1)
        elif expected is not None:
            assert (life.phase, (life.status or {}).get("reason")) == ("Failed", c.CLUSTER_LOST)

    status = life.status or {}
    flow = status.get("flow") or {}
    assert life.phase in c.FINAL_PHASES
    assert flow["attempts"] == life.drivers
    assert life.clusters <= 1 + flow.get("lostClusters", 0) + events.count("resume") + 1
    assert (life.cluster, life.job, life.lease) == (False, False, False)


class TestLease:
    """The Lease controls all that a run has, so its deletion deletes that, too."""

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

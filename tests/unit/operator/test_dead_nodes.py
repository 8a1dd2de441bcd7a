"""Pods on a node that is gone: which of them are deleted without its word, and what the user sees meanwhile."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from typing import Any

import pytest

from flowcluster_operator.kube import Kube
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete, Plan
from flowcluster_operator.policies.dead_node import UNCONFIRMED_SECONDS
from flowcluster_operator.resources import BY_KIND, FLOW_RUN, POD, Object
from flowcluster_operator.timestamps import timestamp
from tests.support import shared
from tests.support.fake_api import NODE, FakeApi
from tests.support.makers import (
    KEY,
    SETTINGS,
    access,
    ago,
    cluster,
    ended,
    job,
    lease,
    observed,
    outcome,
    pod,
    run,
    spec,
)  # fmt: skip
from tests.support.passes import Passes
from tests.support.plans import CHILDREN, FINISHED, plan_for, settled, started

#: Statuses of a run, by what it does, and whether nothing of it must exist for now.
STATES: dict[str, tuple[Object, bool]] = {
    "starts": (started(), False),
    "runs": (started(phase="Running", readyTime=ago(5)), False),
    "begins again": (started(lostTime=ago(50)), True),
    "is suspended": ({"phase": "Suspended"}, True),
    "is over": (FINISHED, False),
}
COMPONENTS = ("driver", "scheduler", "head", "worker")
#: Seconds since the end of a pod's grace period; None where it is not being deleted.
AGES = (None, -20.0, UNCONFIRMED_SECONDS - 1, UNCONFIRMED_SECONDS + 1)


def deleted(component: str, age: float | None, *, is_forced: bool = False, state: Object | None = None) -> Object:
    """Return a pod whose grace period ended `age` seconds ago; None for a pod that is not being deleted."""
    made = pod(component, state, uid=f"uid-{component}")
    if age is not None:
        made["metadata"] |= {"deletionTimestamp": ago(age), "deletionGracePeriodSeconds": 0 if is_forced else 30}
    return made


def seen(state: str, *pods: Object, **more: Any) -> Observed:
    """A run in one of `STATES`, with these pods."""
    body = {**spec(), "flow": {"entrypoint": "a.py:b", "backoffLimit": 1}, "suspend": state == "is suspended"}
    return observed(body, status=STATES[state][0], pods=pods, **{**CHILDREN, **more})


def acting(observed: Observed) -> Plan:
    """The plan once the status is written: that of a suspension is written before anything is deleted."""
    plan = plan_for(observed)
    if plan.status is not None and plan.requeue == 0 and not plan.actions:
        assert observed.run is not None
        plan = plan_for(dataclasses.replace(observed, run={**observed.run, "status": plan.status}))
    return plan


def forced(plan: Plan) -> list[str]:
    """UIDs of what is deleted without the word of its node."""
    return [action.uid for action in plan.actions if isinstance(action, Delete) and action.forced]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("component", "age"), list(itertools.product(COMPONENTS, AGES)))
def test_pod_of_a_cluster_is_deleted_without_its_node_when_the_run_must_have_nothing(
    component: str, age: float | None, state: str
) -> None:
    """Not the pod of a driver: its flow may still run."""
    is_late = age is not None and age > UNCONFIRMED_SECONDS
    is_forced = STATES[state][1] and is_late and component != "driver"

    assert forced(acting(seen(state, deleted(component, age)))) == ([f"uid-{component}"] if is_forced else [])


@pytest.mark.parametrize("phase", ["Rebuilding", "Upgrading", "Sleeping", "Suspended", "Ready"])
def test_pod_of_a_shared_cluster_is_deleted_without_its_node_when_the_cluster_must_have_nothing(phase: str) -> None:
    body = shared.spec(suspend=phase == "Suspended")
    seen = shared.serving(body, pods=[shared.pod("scheduler"), deleted("worker", UNCONFIRMED_SECONDS + 1)])
    assert seen.base.run is not None
    status = {**seen.base.run["status"], "phase": phase}
    if phase != "Ready":
        del status["startTime"]
    base = dataclasses.replace(seen.base, run={**seen.base.run, "status": status}, written=status)

    found = forced(shared.plan_for(dataclasses.replace(seen, base=base)))
    assert found == ([] if phase == "Ready" else ["uid-worker"])


def test_driver_that_has_ended_is_deleted_without_its_node() -> None:
    made = deleted("driver", 60, state=ended(143))

    assert forced(plan_for(seen("begins again", made))) == ["uid-driver"]


def test_pod_is_deleted_without_its_node_once() -> None:
    """A finalizer can hold it after that."""
    assert forced(plan_for(seen("begins again", deleted("worker", 60, is_forced=True)))) == []


@pytest.mark.parametrize("state", [name for name, (_, is_dormant) in STATES.items() if is_dormant])
@pytest.mark.parametrize("age", [0.0, UNCONFIRMED_SECONDS - 0.5])
def test_run_is_looked_at_again_when_a_pod_can_do_without_its_node(state: str, age: float) -> None:
    going = lease()
    going["metadata"] |= {"deletionTimestamp": ago(40), "finalizers": ["foregroundDeletion"]}
    plan = acting(seen(state, deleted("worker", age), lease=going))

    assert plan.requeue is not None
    assert plan.requeue <= max(UNCONFIRMED_SECONDS - age, 1)


@pytest.mark.parametrize("state", ["begins again", "is suspended", "is over"])
def test_status_names_the_pod_that_waits_for_its_node(state: str) -> None:
    status = settled(seen(state, deleted("driver", 60)))
    words = " ".join([status.get("message", ""), *(item["message"] for item in status.get("conditions") or [])])

    assert "pod driver-uid-driver was deleted" in words
    assert "its node has not confirmed" in words


@pytest.mark.parametrize("driver", [None, "completed", "failed"])
async def test_run_begins_again_although_the_node_of_its_cluster_is_gone(
    api: FakeApi, kube: Kube, driver: str | None
) -> None:
    """The scheduler's node stopped answering, and Kubernetes has deleted its pods."""
    api.objects.clock = lambda: dt.datetime.now(dt.UTC) - dt.timedelta(seconds=60)
    before = _on_a_dead_node(api)
    if driver is not None:
        _add(api, job(), "driver", ended(0, outcome()) if driver == "completed" else ended(1))
    async with Passes(kube, SETTINGS).running() as passes:
        for _ in range(6):
            passes.watch(api.objects)
            await passes.make()

    found = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]
    if driver == "completed":
        assert found["finalPhase"] == "Succeeded"
        return
    assert (found["phase"], found["flow"]["lostClusters"]) == ("Starting", 1)
    assert {"DaskCluster", "Job", "Lease"} <= {obj["kind"] for obj in api.objects.all()}
    assert before & {obj["metadata"]["uid"] for obj in api.objects.all()} == set()


async def test_run_waits_for_its_driver_when_the_node_of_that_is_gone(api: FakeApi, kube: Kube) -> None:
    api.objects.clock = lambda: dt.datetime.now(dt.UTC) - dt.timedelta(seconds=60)
    _on_a_dead_node(api)
    _add(api, job(), "driver", {"running": {}}, finalizers=[NODE])
    async with Passes(kube, SETTINGS).running() as passes:
        for _ in range(6):
            passes.watch(api.objects)
            await passes.make()

    found = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]
    assert found["phase"] == "Starting"
    assert "lostTime" in found
    assert "pod driver-1 was deleted" in found["message"]
    assert [obj["metadata"]["name"] for obj in api.objects.all(POD)] == ["driver-1"]


def _on_a_dead_node(api: FakeApi) -> set[str]:
    """Put a run onto the API server whose cluster's pods are on a node that is gone; return the UIDs of its objects."""
    name = cluster()["metadata"]["name"]
    scheduler = {"pod": "scheduler-1", "uid": "pod-scheduler", "restarts": 0}
    known = {"cluster": {"kind": "Dask", "name": name, "scheduler": scheduler}, "flow": {"job": name, "attempts": 1}}
    body = {**spec(), "flow": {"entrypoint": "a.py:b", "backoffLimit": 1}}
    now = timestamp(dt.datetime.now(dt.UTC))
    running = {"phase": "Running", "startTime": now, "readyTime": now, **known}
    api.objects.create(FLOW_RUN, KEY.namespace, run(body, running))
    for child in (lease(), cluster(), job(), *access()):
        api.objects.create(BY_KIND[child["kind"]], KEY.namespace, child)
    for component in ("scheduler", "worker"):
        _add(api, cluster(), component, {"running": {}}, finalizers=[NODE])
        api.objects.delete(POD, KEY.namespace, f"{component}-1")
    return {obj["metadata"]["uid"] for obj in api.objects.all()} - {KEY.uid}


def _add(api: FakeApi, owner: Object, component: str, state: Object, **metadata: Any) -> None:
    """Create a pod that an object controls."""
    made = pod(component, state)
    reference = {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    meta = {**made["metadata"], "namespace": KEY.namespace, "ownerReferences": [reference], **metadata}
    api.objects.create(POD, KEY.namespace, {**made, "metadata": meta})

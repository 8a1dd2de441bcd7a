"""An edit of a field that the API server accepts for a live run has an effect on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster_api.edits import EDITS, Edit
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.ray import RayBackend
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import PatchObject, Plan
from flowcluster_operator.model.shared import SharedObserved, User
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.resources import JOB
from flowcluster_operator.shared_cluster_use import use_of
from tests.support import shared
from tests.support.makers import (
    KEY,
    KEYS,
    SETTINGS,
    ago,
    cluster,
    deployment,
    ended,
    job,
    observed,
    outcome,
    pod,
    run,
    spec,
    stored,
)
from tests.support.plans import CHILDREN, FINISHED, RIGHTS, kinds, plan_for, started

Body = dict[str, Any]
READY = [pod("scheduler"), pod("worker", uid="w1"), pod("driver")]


def live(body: Body, **more: Any) -> Observed:
    """A run that has been running for 100 seconds."""
    status = started(age=100, phase="Running", readyTime=ago(90), cluster={"kind": "Dask", "name": "c"})
    children = {**CHILDREN, "deployments": (deployment(), deployment("worker", number=1)), "pods": READY}
    return observed(body, **{"status": status, **children, **more})


def starting(body: Body) -> Observed:
    return observed(body, status=started(age=100), **CHILDREN)


def over(body: Body) -> Observed:
    status = {**FINISHED, "phase": "Succeeded", "finishTime": ago(100)}
    status["conditions"] = [*FINISHED["conditions"], {"type": "ClusterDeleted", "status": "True", "reason": "x"}]
    return observed(body, status=status)


def silent(body: Body) -> Observed:
    return live(body, driver=DriverHeartbeat("driver-1/1", None, 100.0, 10.0))


def busy(body: Body) -> Observed:
    """A run whose driver needs more workers than it may have."""
    return live(body, driver=DriverHeartbeat("driver-1/1", None, 0.0, 0.0, Demand(5)), cluster=_asking(1))


def idle(body: Body) -> Observed:
    """A run whose driver reports that nothing has run for 100 seconds."""
    return live(body, driver=DriverHeartbeat("driver-1/1", None, 0.0, 0.0, None, Progress(None, 100), 10.0))


def user(body: Body) -> SharedObserved:
    """The SharedCluster that a live run uses. Its keeper knows nothing of the run yet."""
    use = use_of(run(body))
    assert use is not None
    return dataclasses.replace(shared.serving(), users=(User("uid", "report", "team", use.priority, use.threads),))


def _asking(replicas: int) -> Body:
    made = cluster()
    return {**made, "spec": {**made["spec"], "worker": {**made["spec"]["worker"], "replicas": replicas}}}


#: For each field that acts: what a pass observes, over the run or the SharedCluster that it uses, and the value of the
#: field before and after the edit.
EFFECTS: dict[str, tuple[Callable[[Body], Observed | SharedObserved], Any, Any]] = {
    "flow.backoffLimit": (live, 0, 3),
    "cluster.workers.minimum": (live, 0, 2),
    "cluster.workers.maximum": (busy, 1, 2),
    "cluster.ref.priority": (user, 0, 5),
    "cluster.ref.share.threads": (user, 4, 2),
    "startDeadlineSeconds": (starting, 600, 50),
    "activeDeadlineSeconds": (live, 600, 50),
    "idleTimeoutSeconds": (idle, 600, 50),
    "ttlSecondsAfterFinished": (over, 600, 50),
    "suspend": (live, False, True),
    "cancel": (live, False, True),
}


def edited(path: str, value: Any) -> Body:
    """A spec of a live run with this value of one field."""
    own = {"kind": "Dask", "workers": {"minimum": 0, "maximum": 3}}
    used = {"ref": {"name": "analytics"}}
    body: Body = {"flow": {"entrypoint": "a.py:b"}, "cluster": used if path.startswith("cluster.ref.") else own}
    *parents, name = path.split(".")
    node = body
    for parent in parents:
        node = node.setdefault(parent, {})
    node[name] = value
    return body


def planned(seen: Observed | SharedObserved) -> Plan:
    """What the pass decides."""
    return shared.plan_for(seen) if isinstance(seen, SharedObserved) else plan_for(seen)


def done(plan: Plan) -> tuple[Any, Any]:
    """What a plan does: its actions, and the status without what differs in any case."""
    status = dict(plan.status or {})
    status.pop("observedGeneration", None)
    return plan.actions, status


def test_every_field_that_acts_has_a_case() -> None:
    acting = {path for path, edit in EDITS.items() if edit is Edit.ACTS}

    assert set(EFFECTS) == acting


@pytest.mark.parametrize("path", EFFECTS)
def test_edit_of_a_field_that_acts_changes_what_the_operator_does(path: str) -> None:
    seen, before, after = EFFECTS[path]

    assert done(planned(seen(edited(path, before)))) != done(planned(seen(edited(path, after))))


def test_edited_lease_duration_spares_a_driver_that_is_silent_for_less() -> None:
    short, long = (plan_for(silent(edited("leaseDurationSeconds", value))) for value in (60, 3600))

    assert (short.status or {}).get("reason") == "DriverLost"
    assert (long.status or {}).get("phase") != "Stopping"


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0)])
def test_edited_backoff_limit_reaches_the_job(before: int, after: int) -> None:
    made = job(edited("flow.backoffLimit", before))
    plan = plan_for(live(edited("flow.backoffLimit", after), job=made))

    assert [action.patch for action in plan.actions if isinstance(action, PatchObject) and action.resource is JOB] == [
        {"spec": {"backoffLimit": after}}
    ]


@pytest.mark.parametrize(
    "end", [{"deletionTimestamp": ago(1)}, {"conditions": [{"type": "Complete", "status": "True"}]}]
)
def test_edited_backoff_limit_leaves_a_job_alone_that_is_over(end: Body) -> None:
    made = job(**{name: value for name, value in end.items() if name == "deletionTimestamp"})
    made = {**made, "status": {name: value for name, value in end.items() if name == "conditions"}}
    pods = [*READY[:2], pod("driver", ended(0, outcome()))] if "conditions" in end else READY
    plan = plan_for(live(edited("flow.backoffLimit", 2), job=made, pods=pods))

    assert not any(isinstance(action, PatchObject) for action in plan.actions)


@pytest.mark.parametrize("bounds", [(1, 1), (0, 3), (2, 2)])
def test_driver_of_a_dask_run_can_report_its_needs_whatever_the_bounds_are_at_the_start(
    bounds: tuple[int, int],
) -> None:
    """An edit can make bounds differ that are equal at the start."""
    minimum, maximum = bounds
    body = spec(workers=None, cluster={"kind": "Dask", "workers": {"minimum": minimum, "maximum": maximum}})
    plan = plan_for(observed(body, status=started(), **RIGHTS))
    (made,) = (action.body for action in plan.actions if kinds(Plan(actions=(action,))) == ["Job"])  # type: ignore[union-attr]
    environment = {item["name"]: item.get("value") for item in made["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert environment["FLOWCLUSTER_CLUSTER_ADAPTS"] == ("true" if minimum < maximum else "when-edited")


def test_ray_cluster_of_equal_bounds_follows_an_edited_maximum() -> None:
    """In each bound that an edit changes, also where the administrator's limit made them equal."""
    body = spec(workers=None, cluster={"kind": "Ray", "workers": {"minimum": 1, "maximum": 2}})
    for limit, equal in ((100, 1), (1, 1)):
        made = stored(ray_cluster(KEY, FlowRunSpec.model_validate(body), SETTINGS, Scale(equal, equal, equal), KEYS))
        patch = RayBackend().scale_patch(made, Scale(1, min(2, limit), 1))
        assert made["spec"]["enableInTreeAutoscaling"] is True
        assert [step["value"] for step in patch if step["op"] == "replace"] == ([2] if limit > 1 else [])

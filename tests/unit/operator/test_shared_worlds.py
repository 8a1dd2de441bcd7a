"""Whatever a pass observes of a shared cluster, it decides: no error, a legal move, a next look where one is due."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.model import (
    Create,
    Delete,
    DriverSigns,
    Observed,
    Plan,
    Rejection,
    Settled,
    SetWorkers,
    Trouble,
)
from flowcluster_operator.policies.shared.parts import worker_parts
from flowcluster_operator.projection import projected
from flowcluster_operator.resources import BY_KIND, DASK_WORKER_GROUP
from flowcluster_operator.shared_model import SharedObserved
from flowcluster_operator.shared_specs import parse, view
from tests.support.makers import SETTINGS, ago
from tests.support.shared import (
    NAME,
    SECRET,
    USER,
    bare,
    deployment,
    lease,
    objects,
    plan_for,
    pod,
    serving,
    shared,
    spec,
)

Body = dict[str, Any]
TIMES = st.sampled_from([0, 1, 31, 61, 301, 100_000]).map(ago)
METADATA: st.SearchStrategy[Body] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "deletionTimestamp": TIMES,
            "finalizers": st.sampled_from([[], ["foregroundDeletion"], ["kopf.zalando.org/KopfFinalizerMarker"]]),
        }
    ),
)
GROUPS = st.sampled_from(
    [
        [],
        [{"name": "gpu", "minimum": 1, "maximum": 2, "taskResources": {"GPU": 1}}],
        [{"name": "gpu", "maximum": 9}, {"name": "a-group-with-a-long-name", "minimum": 0, "maximum": 3}],
        [{"name": "gpu", "template": {"spec": {"hostNetwork": True}}}],
        [{"name": "gpu", "template": {"spec": "x"}}],
        [{"name": "gpu", "taskResources": {"a,b$": 1}}],
    ]
)
SPECS = st.builds(
    lambda kind, groups, more: spec(kind, **({"workerGroups": groups} if groups else {}), **more),
    st.sampled_from(["Dask", "Ray"]),
    GROUPS,
    st.fixed_dictionaries(
        {},
        optional={
            "suspend": st.booleans(),
            "image": st.sampled_from(["x:1", "x:2"]),
            "upgrade": st.sampled_from(["WhenIdle", "Now"]),
            "idleShutdownSeconds": st.sampled_from([10, 10_000]),
            "allowedNamespaces": st.just(["team"]),
            "workers": st.sampled_from(
                [{"minimum": 0, "maximum": 0}, {"minimum": 2, "maximum": 2}, {"template": {"spec": "x"}}]
            ),
            "scheduler": st.just({"template": {"spec": {"hostPID": True}}}),
        },
    ),
)
CONDITIONS = st.lists(
    st.builds(
        lambda kind, value: {"type": kind, "status": value, "reason": "x", "message": "", "lastTransitionTime": ago(5)},
        st.sampled_from([c.ACCEPTED, c.CLUSTER_READY, c.UP_TO_DATE, c.SCALING, c.READY]),
        st.sampled_from(["True", "False"]),
    ),
    max_size=3,
    unique_by=lambda item: str(item["type"]),
)
STATUS = st.fixed_dictionaries(
    {"phase": st.sampled_from(c.SHARED_PHASES)},
    optional={
        "reason": st.sampled_from([c.CLUSTER_LOST, c.CLUSTER_USABLE, ""]),
        "startTime": TIMES,
        "readyTime": TIMES,
        "lostTime": TIMES,
        "quickLosses": st.sampled_from([0, 1, 2, 50]),
        "restarts": st.sampled_from([0, 7]),
        "kind": st.sampled_from(["Dask", "Ray"]),
        "name": st.just(NAME),
        "scheduler": st.sampled_from([{"pod": "s", "uid": "pod-scheduler", "restarts": 0}, {"pod": "h", "uid": "x"}]),
        "conditions": CONDITIONS,
    },
)
PODS = st.lists(
    st.builds(
        lambda component, group, state, deleted, restarts: pod(
            component, group=group if component == "worker" else "", state=state, deleted=deleted, restarts=restarts
        ),
        st.sampled_from(["scheduler", "head", "worker", "keeper"]),
        st.sampled_from(["", "gpu", "other"]),
        st.sampled_from([{"running": {}}, {}, {"waiting": {"reason": "ImagePullBackOff"}}]),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=4,
    unique_by=lambda item: str(item["metadata"]["uid"]),
)
KEEPERS = st.none() | st.builds(
    DriverSigns,
    st.sampled_from([None, "keeper-1"]),
    st.none(),
    st.sampled_from([0.0, 59.9, 61.0]),
    st.just(0.0),
    st.sampled_from([None, Demand(0), Demand(10**6, ("worker-w1", "gpu-w1"), (("gpu", 10**6), ("other", 3)))]),
    st.sampled_from([None, Progress(None, 3), Progress(None, 10**6)]),
    st.sampled_from([0.0, 10.0]),
)


USERS = st.sampled_from([(), (USER,), (USER, USER._replace(uid="uid-2", threads=4))])
TROUBLES = st.sampled_from([None, Trouble(c.API_ERROR, "429", 60.0)])
#: What differs from a cluster that is Ready.
CHANGES: st.SearchStrategy[Body] = st.fixed_dictionaries(
    {"driver": KEEPERS, "users": USERS}, optional={"pods": PODS, "trouble": TROUBLES, "keeper": st.none()}
)


@st.composite
def worlds(draw: st.DrawFn) -> SharedObserved:
    """What a pass observes, in any combination."""
    body = draw(SPECS)
    built = spec(body["kind"])  # of a spec that cannot be built, no cluster exists
    if draw(st.booleans()):
        return rebased(serving(built, **draw(CHANGES)), body)
    made, _ = objects(built)
    fields: Body = {
        "status": draw(STATUS | st.none()),
        "driver": draw(KEEPERS),
        "pods": draw(PODS),
        "settled": draw(st.sampled_from([Settled(), Settled(0, 0)])),
        "verified_gone": draw(st.booleans()),
        "users": draw(USERS),
        "rejections": draw(
            st.sampled_from([(), (Rejection("RayCluster", "x", 404, "no"),), (Rejection("Lease", "x", 403, "no"),)])
        ),
        "trouble": draw(TROUBLES),
        "lease": draw(st.sampled_from([None, lease(), lease(None)])),
        "orphans": draw(st.sampled_from([(), (deployment("worker", number=9),)])),
        "cluster": draw(st.sampled_from([None, {**made, "metadata": {**made["metadata"], **draw(METADATA)}}])),
        "keys": draw(st.sampled_from([None, SECRET])),
        "keeper": draw(st.sampled_from([None, {"kind": "Deployment"}])),
    }
    return bare(body, **fields)


def rebased(seen: SharedObserved, body: Body) -> SharedObserved:
    """A cluster that was built from one spec, after an edit to another one."""
    assert seen.base.run is not None
    run = {**seen.base.run, "spec": body}
    parsed, invalid = parse(run)
    assert parsed is not None
    groups = bare(body).groups
    base = dataclasses.replace(seen.base, run=run, spec=view(parsed), invalid=invalid)
    return dataclasses.replace(seen, base=base, spec=parsed, groups=groups)


def phase(status: Body | None) -> str:
    return str((status or {}).get("phase") or "Pending")


def after(seen: SharedObserved, plan: Plan) -> SharedObserved:
    """The cluster after the status of a plan was written."""
    assert seen.base.run is not None
    run = {**seen.base.run, "status": plan.status}
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, run=run, written=plan.status))


MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(worlds())
def test_decision_is_legal_in_every_world(seen: SharedObserved) -> None:
    assert seen.base.run is not None
    plan = plan_for(seen)
    before = phase(seen.base.run.get("status"))
    following = phase(plan.status or seen.base.run.get("status"))

    assert following == before or following in c.SHARED_PHASE_MOVES[before]
    if plan.requeue == 0:
        assert plan.actions or plan.status is not None, "a pass that changes nothing is not repeated immediately"
    elif plan.requeue is None:
        assert following in ("Ready", "Suspended", "Sleeping", "Failed") or plan.actions
    else:
        assert plan.requeue >= 0.5


@MANY
@given(worlds())
def test_status_settles_in_every_world(seen: SharedObserved) -> None:
    """In a world that stays as it is, only a few status writes follow one another."""
    for _ in range(8):
        plan = plan_for(seen)
        if plan.status is None:
            return
        seen = after(seen, plan)

    raise AssertionError(f"the status still changes: {plan.status}")


@MANY
@given(worlds())
def test_texts_name_fields_of_a_shared_cluster_in_every_world(seen: SharedObserved) -> None:
    plan = plan_for(seen)
    texts = [str(plan.status), *(event.message for event in plan.events)]

    assert not any("spec.cluster" in text or "spec.flow" in text for text in texts)


@MANY
@given(worlds())
def test_requested_workers_stay_within_their_bounds_in_every_world(seen: SharedObserved) -> None:
    plan = plan_for(seen)
    if seen.spec is None:
        return
    parts = worker_parts(seen, BACKENDS[seen.spec.kind], SETTINGS)
    most = max(max(part.scale.maximum, part.scale.minimum) for part in parts)
    for action in plan.actions:
        if type(action) is SetWorkers and isinstance(action.patch, dict):
            live = sum("deletionTimestamp" not in obj["metadata"] for obj in seen.base.deployments)
            assert action.patch["spec"]["worker"]["replicas"] <= max(most, live)


@MANY
@given(worlds())
def test_nothing_is_created_beside_deletions_of_the_cluster_in_every_world(seen: SharedObserved) -> None:
    """A cluster is begun again only when nothing of the former one is left."""
    plan = plan_for(seen)
    roots = [action for action in plan.actions if isinstance(action, Delete) and action.resource.kind == "Lease"]
    creates = [action for action in plan.actions if isinstance(action, Create)]

    assert not (roots and creates)
    assert not (creates and phase(plan.status or (seen.base.run or {}).get("status")) in ("Suspended", "Sleeping"))


@MANY
@given(worlds())
def test_users_keep_the_cluster_awake_in_every_world(seen: SharedObserved) -> None:
    assert seen.base.run is not None
    before, following = phase(seen.base.run.get("status")), phase(plan_for(seen).status)

    assert not (seen.users and following == "Sleeping" and before != "Sleeping")


def kept(value: Any) -> Any:
    """What the store keeps of an object or of several; other values as they are."""
    if type(value) is tuple:
        return tuple(kept(item) for item in value)
    is_object = isinstance(value, dict) and value.get("kind") in BY_KIND and "metadata" in value
    # Of worker groups, the store keeps metadata only until the operator serves shared clusters.
    return projected(BY_KIND[value["kind"]], value) if is_object else value


@MANY
@given(worlds())
def test_plan_is_the_same_on_what_the_store_keeps_in_every_world(seen: SharedObserved) -> None:
    fields: Body = {field.name: kept(getattr(seen.base, field.name)) for field in dataclasses.fields(seen.base)}

    assert all(facts.resource is None or facts.resource["kind"] == DASK_WORKER_GROUP.kind for facts in seen.groups)
    assert plan_for(dataclasses.replace(seen, base=Observed(**fields))) == plan_for(seen)


@given(PODS)
def test_each_worker_belongs_to_one_group(pods: list[Body]) -> None:
    body = spec(workerGroups=[{"name": "gpu"}, {"name": "other"}])
    seen = bare(body, pods=pods)
    counted = [worker.uid for facts in (None, *seen.groups) for worker in seen.of_group(facts).of("worker")]
    workers = [item["metadata"]["uid"] for item in pods if item["metadata"]["uid"].startswith("pod-worker")]

    assert sorted(counted) == sorted(workers)


def test_cluster_that_is_being_deleted_gets_no_children() -> None:
    plan = plan_for(bare(run=shared(spec(), None, deletionTimestamp=ago(1))))

    assert (plan.actions, plan.status) == ((), None)

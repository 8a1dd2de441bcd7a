"""Whatever a pass observes, it decides: no error, a legal move of the phase, and a next look where one is due."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_api.driver import Outcome
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress, Tasks
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.model.failures import Rejection, RepeatedFailure, WarningEvent
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.references import CredentialExchangeState, Parent, Reference
from flowcluster_operator.model.workers import ReplicaStability, Scale
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.reconcile.intervals import RETRY_SECONDS
from flowcluster_operator.reconcile.referenced_shared_cluster import with_kind
from flowcluster_operator.resources import BY_KIND, POD
from flowcluster_operator.specs import parse
from tests.support.fake_api.defaults import stored_status
from tests.support.makers import (
    KEY,
    KEYS,
    SETTINGS,
    access,
    ago,
    cluster,
    deployment,
    ended,
    job,
    lease,
    outcome,
    pod,
    run,
    spec,
    stored,
)
from tests.support.plans import plan_for

Body = dict[str, Any]
AGES = st.sampled_from([0, 1, 31, 599, 601, 100_000])
TIMES = AGES.map(ago)
FINALIZERS = st.sampled_from([[], ["foregroundDeletion"], ["kopf.zalando.org/KopfFinalizerMarker"], ["x/y"]])
#: A finalizer, or a deletion that goes on for some time.
METADATA: st.SearchStrategy[Body] = st.one_of(
    st.just({}), st.fixed_dictionaries({"deletionTimestamp": TIMES, "finalizers": FINALIZERS})
)
REASONS = st.sampled_from([c.SUCCEEDED, c.CANCELLED, c.CLUSTER_LOST, "FlowFailed", ""])
SPECS = st.builds(
    lambda flow, part, more: spec(workers=None, flow=flow, **({"cluster": part} if part else {}), **more),
    st.booleans(),
    st.sampled_from(
        [
            None,
            {"kind": "Dask", "workers": {"minimum": 1, "maximum": 3}},
            {"kind": "Ray", "workers": {"minimum": 0, "maximum": 3}},
            {"kind": "Dask", "ref": {"name": "shared"}},
            {"ref": {"name": "analytics"}},
            {"ref": {"name": "analytics", "namespace": "platform", "share": {"threads": 4}}},
            {"kind": "Dask", "workers": {"resources": {"limits": {"memory": "+1Gi"}}}},
            {"kind": "Dask", "workers": {"template": {"spec": "x"}}},
            {"kind": "Dask", "workers": {"template": {"spec": {"containers": [{"name": {}}]}}}},
            {"kind": "Ray", "workers": {"resources": {"limits": {"nvidia.com/gpu": "1k"}}}},
            {"kind": "Dask", "image": "a\u00a0b"},
            "invalid",
        ]
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "suspend": st.booleans(),
            "cancel": st.booleans(),
            "activeDeadlineSeconds": st.sampled_from([1, 700]),
            "ttlSecondsAfterFinished": st.sampled_from([0, 50, "invalid"]),
            "leaseDurationSeconds": st.just(10),
            "idleTimeoutSeconds": st.just(5),
        },
    ),
)


def condition(kind: str, value: str, reason: str) -> Body:
    """A condition as it stands in a status."""
    return {"type": kind, "status": value, "reason": reason, "message": "", "lastTransitionTime": ago(5)}


CONDITIONS = st.lists(
    st.builds(
        condition,
        st.sampled_from([c.ACCEPTED, c.FINISHED, c.CLUSTER_DELETED, c.CLUSTER_READY, c.FLOW_STARTED]),
        st.sampled_from(["True", "False"]),
        REASONS,
    ),
    max_size=4,
    unique_by=lambda item: str(item["type"]),
)
STATUS = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(c.PHASES),
        "finalPhase": st.sampled_from(sorted(c.FINAL_PHASES)),
        "startTime": TIMES,
        "readyTime": TIMES,
        "finishTime": TIMES,
        "lostTime": TIMES,
        "rebuildTime": TIMES,
        "reason": REASONS,
        "conditions": CONDITIONS,
        "cluster": st.sampled_from(
            [
                {"kind": "Dask", "name": "c"},
                {"kind": "Dask", "workerSeconds": 5, "peakWorkers": 1},
                {"kind": "Dask", "name": "c", "scheduler": {"pod": "s", "uid": "pod-scheduler", "restarts": 0}},
                {"kind": "Dask", "name": "c", "workers": {"ready": 1, "target": 2}, "workersTime": ago(9)},
                {"kind": "Ray", "name": "c", "scheduler": {"pod": "h", "uid": "pod-head"}},
            ]
        ),
        "flow": st.sampled_from(
            [
                {"job": "j", "attempts": 1},
                {"attempts": 2},
                {"job": "j", "attempts": 2, "failedAttempts": 1, "lostClusters": 1},
                {"job": "j", "tasks": {"total": 3, "running": 1, "completed": 1, "failed": 0}, "tasksTime": ago(5)},
            ]
        ),
    },
)
STATES = st.sampled_from(
    [
        {"running": {}},
        {},
        {"waiting": {"reason": "ImagePullBackOff"}},
        ended(0, outcome()),
        ended(1, outcome("Failed", "Succeeded", "no", 1)),
        ended(137, "", "OOMKilled"),
        ended(0, "hello"),
    ]
)


def some_pod(component: str, state: Body, restarts: int, deletion: tuple[float, int] | None, unready: float) -> Body:
    """A pod that may be deleted: when its grace period ends, and how long it was."""
    made = pod(component, state, restarts=restarts)
    if deletion is not None:
        made["metadata"] |= {"deletionTimestamp": ago(deletion[0]), "deletionGracePeriodSeconds": deletion[1]}
    for item in made["status"]["conditions"]:
        item["lastTransitionTime"] = ago(unready)
    return made


PODS = st.lists(
    st.builds(
        some_pod,
        st.sampled_from(["driver", "scheduler", "head", "worker"]),
        STATES,
        st.integers(0, 2),
        st.sampled_from([None, (1, 30), (-9, 30), (29.7, 30), (31, 30), (31, 0)]),
        st.sampled_from([1, 29.7, 31]),
    ),
    max_size=4,
    unique_by=lambda item: str(item["metadata"]["uid"]),
)


def ray(**metadata: Any) -> Body:
    """The run's RayCluster."""
    parsed = FlowRunSpec.model_validate(spec(workers=None, cluster={"kind": "Ray"}))
    return stored(ray_cluster(KEY, parsed, SETTINGS, Scale(0, 3, 1), KEYS), **metadata)


def ended_job(kind: str | None, limit: int, metadata: Body) -> Body:
    """The run's Job, with the condition of an end."""
    made = job(**metadata)
    conditions = [{"type": kind, "status": "True"}] if kind else []
    return {**made, "spec": {**made["spec"], "backoffLimit": limit}, "status": {"conditions": conditions}}


#: A child run that goes on, and one of which only the record is left.
CHILD_RUNS = [
    {**run(None, status), "metadata": {**run()["metadata"], "name": "child", "uid": "uid-child"}}
    for status in (
        {"phase": "Running"},
        {
            "phase": "Succeeded",
            "finishTime": ago(9),
            "conditions": [condition(kind, "True", "x") for kind in (c.FINISHED, c.CLUSTER_DELETED)],
        },
    )
]


DRIVERS = st.builds(
    DriverHeartbeat,
    st.sampled_from([None, "driver-1/1"]),
    st.sampled_from([None, Outcome.from_json(outcome()), Outcome.from_json(outcome("Cancelled", "x", "y", 3))]),
    st.sampled_from([0.0, 100.0]),
    st.sampled_from([0.0, 10.0]),
    st.sampled_from([None, Demand(2), Demand(0, ("worker-w1",))]),
    st.sampled_from([None, Progress(Tasks(9, 2, 4, 1), 1), Progress(None, 10**6)]),
    st.sampled_from([0.0, 10.0]),
)


SHARED = {"kind": "DaskCluster", "metadata": {"name": "shared"}, "spec": {"worker": {"spec": {}}}}
HEAD_COMPONENTS = [
    pod_facts(pod("scheduler")),
    pod_facts(pod("scheduler", deleted=True)),
    pod_facts(pod("scheduler", {})),
]
REFERENCES = st.builds(
    Reference,
    st.sampled_from([None, SHARED, {**SHARED, "metadata": {"name": "shared", "deletionTimestamp": ago(1)}}]),
    st.sampled_from([(), *((leader,) for leader in HEAD_COMPONENTS)]),
    st.booleans(),
    st.none(),
    st.none(),
)


#: A SharedCluster, in any state.
SHARED_CLUSTERS = st.builds(
    lambda kind, status, suspend, metadata: {
        "metadata": {"name": "analytics", "namespace": "platform", "uid": "uid-analytics", **metadata},
        "spec": {"kind": kind, "suspend": suspend, "workerGroups": [{"name": "gpu"}]},
        "status": status,
    },
    st.sampled_from(["Dask", "Ray"]),
    st.fixed_dictionaries(
        {},
        optional={
            "phase": st.sampled_from(c.SHARED_PHASES),
            "message": st.just("x"),
            "name": st.just("c"),
            "address": st.just("tls://c:8786"),
            "dashboard": st.just("http://c:8787"),
            "scheduler": st.sampled_from([{"pod": "s", "uid": "pod-scheduler"}, {"pod": "s", "uid": "another"}]),
            "workers": st.just([{"name": "default", "maximum": 3}, {"name": "gpu", "maximum": 2}]),
            "runs": st.integers(0, 3),
        },
    ),
    st.booleans(),
    METADATA,
)
HANDOVERS = st.builds(
    CredentialExchangeState,
    st.sampled_from([None, KEYS, "another"]),
    st.booleans(),
    st.sampled_from([None, 1.0, 61.0]),
    st.sampled_from([1.0, 61.0]),
    st.sampled_from([None, "no package"]),
    st.booleans(),
)
SHARED_REFERENCES = st.builds(
    Reference,
    st.sampled_from([None, SHARED]),
    st.sampled_from([(), *((leader,) for leader in HEAD_COMPONENTS)]),
    st.booleans(),
    st.none() | SHARED_CLUSTERS,
    st.sampled_from([None, KEYS, "another"]),
    st.none() | HANDOVERS,
)


def understood(flow_run: Body, reference: Reference) -> tuple[FlowRunSpec, str | None]:
    """The spec of a run as a pass observes it, and why it cannot be used."""
    parsed, invalid = parse(flow_run)
    uses_shared = parsed.cluster is not None and parsed.cluster.uses_shared
    return with_kind(parsed, reference, flow_run.get("status") or {}) if uses_shared else parsed, invalid


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    """What a pass observes, in any combination."""
    body, status = draw(SPECS), draw(STATUS)
    flow_run = run(body, status if draw(st.booleans()) else None)
    named = parse(flow_run)[0].cluster
    uses_shared = named is not None and named.uses_shared
    reference = draw(SHARED_REFERENCES if uses_shared else REFERENCES)
    parsed, invalid = understood(flow_run, reference)
    uses_ray = parsed.cluster is not None and parsed.cluster.kind == "Ray"
    made = draw(st.sampled_from([None, ray if uses_ray else cluster]))
    is_owned = parsed.flow is None and draw(st.booleans())
    observed = Observed(
        key=KEY,
        run=flow_run,
        spec=parsed,
        invalid=invalid,
        cluster=made(**draw(METADATA)) if made else None,
        job=ended_job(draw(st.sampled_from([None, "Complete", "Failed"])), draw(st.integers(0, 1)), draw(METADATA))
        if draw(st.booleans())
        else None,
        lease=draw(st.sampled_from([None, lease(), lease("driver-1/1")])),
        access=tuple(draw(st.sampled_from([(), access(spec())]))),
        credentials=draw(st.sampled_from([None, KEYS])),
        driver=draw(st.none() | DRIVERS),
        parent=Parent("parent", "account", draw(st.sampled_from([None, "keys"])), draw(st.booleans()))
        if is_owned
        else None,
        stability=draw(st.sampled_from([ReplicaStability(), ReplicaStability(0, 0), ReplicaStability(100, 100)])),
        deployments=draw(st.sampled_from([(), (deployment(),), (deployment(), deployment("worker", number=1))])),
        orphans=draw(st.sampled_from([(), (deployment("worker", number=2),)])),
        warnings=draw(st.sampled_from([(), (WarningEvent("Job", "x", "FailedCreate", "no"),)])),
        rejections=draw(
            st.sampled_from([(), *((Rejection(kind, "x", 403, "no"),) for kind in ("Job", "Lease", "RoleBinding"))])
        ),
        failure=draw(
            st.sampled_from([None, RepeatedFailure("ApiError", "429", 1.0), RepeatedFailure("ApiError", "429", 60.0)])
        ),
        verified_gone=draw(st.booleans()),
        uses_shared=uses_shared,
        reference=reference,
        child_runs=draw(st.sampled_from([(), *((child,) for child in CHILD_RUNS)])),
    )
    return dataclasses.replace(observed, pods=tuple(pod_facts(made) for made in draw(PODS)))


def phase(status: Body | None) -> str:
    """The phase in a status."""
    return str((status or {}).get("phase") or "Pending")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_decision_is_legal_in_every_world(seen: Observed) -> None:
    plan = plan_for(seen)
    before, after = phase(seen.run.get("status")), phase(plan.status or seen.run.get("status"))

    assert after == before or after in c.PHASE_MOVES[before]
    if plan.requeue == 0:
        assert plan.actions or plan.status is not None, "a pass that changes nothing is not repeated immediately"
    elif plan.requeue is None:
        assert after in ("Running", "Suspended") or plan.actions, "no event may come that wakes the run"
    else:
        assert plan.requeue >= 0.5
    is_clearing_up = "lostTime" in (plan.status or seen.run.get("status") or {})  # and creates nothing meanwhile
    if seen.rejections and after in ("Starting", "Running") and not is_clearing_up:
        assert plan.requeue is not None, "no event announces that the API server would accept a refused child now"
        assert plan.requeue <= RETRY_SECONDS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_status_settles_in_every_world(seen: Observed) -> None:
    """In a world that stays as it is, only a few status writes follow one another."""
    for _ in range(6):
        plan = plan_for(seen)
        if plan.status is None:
            return
        seen = dataclasses.replace(seen, run={**seen.run, "status": stored_status(plan.status)})

    raise AssertionError(f"the status still changes: {plan.status}")


def kept(value: Any) -> Any:
    """What the store keeps of an object or of several; other values as they are."""
    if type(value) is tuple:
        return tuple(kept(item) for item in value)
    return projected(BY_KIND[value["kind"]], value) if isinstance(value, dict) and "kind" in value else value


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_plan_is_the_same_on_what_the_store_keeps_in_every_world(seen: Observed) -> None:
    fields: Body = {field.name: kept(getattr(seen, field.name)) for field in dataclasses.fields(seen)}
    fields["spec"], fields["invalid"] = understood(fields["run"], seen.reference)

    assert plan_for(Observed(**fields)) == plan_for(seen)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PODS)
def test_facts_of_pods_are_the_same_on_what_the_store_keeps(pods: list[Body]) -> None:
    assert [pod_facts(projected(POD, made)) for made in pods] == [pod_facts(made) for made in pods]

"""What a pass may observe of a shared cluster, in any combination: what generated tests draw from."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_api.handover import CredentialRequest
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.model.failures import Rejection, RepeatedFailure
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.shared_specs import parse, view
from tests.support.makers import ago
from tests.support.shared import (
    NAME,
    SECRET,
    USER,
    bare,
    deployment,
    lease,
    objects,
    pod,
    serving,
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
    DriverHeartbeat,
    st.sampled_from([None, "keeper-1"]),
    st.none(),
    st.sampled_from([0.0, 59.9, 61.0]),
    st.just(0.0),
    st.sampled_from([None, Demand(0), Demand(10**6, ("worker-w1", "gpu-w1"), (("gpu", 10**6), ("other", 3)))]),
    st.sampled_from([None, Progress(None, 3), Progress(None, 10**6)]),
    st.sampled_from([0.0, 10.0]),
)


USERS = st.sampled_from([(), (USER,), (USER, USER._replace(uid="uid-2", threads=4))])
REQUESTS = st.sampled_from([(), (CredentialRequest(USER.uid, "key"),)])
TROUBLES = st.sampled_from([None, RepeatedFailure(c.API_ERROR, "429", 60.0)])
#: What differs from a cluster that is Ready.
CHANGES: st.SearchStrategy[Body] = st.fixed_dictionaries(
    {"driver": KEEPERS, "users": USERS, "requests": REQUESTS},
    optional={"pods": PODS, "failure": TROUBLES, "keeper": st.none()},
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
        "stability": draw(st.sampled_from([ReplicaStability(), ReplicaStability(0, 0)])),
        "verified_gone": draw(st.booleans()),
        "users": draw(USERS),
        "rejections": draw(
            st.sampled_from([(), (Rejection("RayCluster", "x", 404, "no"),), (Rejection("Lease", "x", 403, "no"),)])
        ),
        "failure": draw(TROUBLES),
        "lease": draw(st.sampled_from([None, lease(), lease(None)])),
        "orphans": draw(st.sampled_from([(), (deployment("worker", number=9),)])),
        "cluster": draw(st.sampled_from([None, {**made, "metadata": {**made["metadata"], **draw(METADATA)}}])),
        "credentials": draw(st.sampled_from([None, SECRET])),
        "keeper": draw(st.sampled_from([None, {"kind": "Deployment"}])),
    }
    return bare(body, **fields)


def rebased(seen: SharedObserved, body: Body) -> SharedObserved:
    """A cluster that was built from one spec, after an edit to another one."""
    run = {**seen.base.run, "spec": body}
    parsed, _ = parse(run)
    assert parsed is not None
    groups = bare(body).groups
    base = dataclasses.replace(seen.base, run=run, spec=view(parsed))
    return dataclasses.replace(seen, base=base, spec=parsed, groups=groups)

"""Runs on a cluster that exists without them: usable when its scheduler or head is, and lost with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.errors import ApiUnavailable
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Create
from flowcluster_operator.reconcile.intervals import REFERENCE_SECONDS
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, JOB, POD, SERVICE, Object
from flowcluster_operator.trackers.referenced_clusters import FRESH_SECONDS, ReferencedClusters
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, SETTINGS, ago, ended, job, observed, outcome, pod, run, spec
from tests.support.passes import Passes
from tests.support.plans import RIGHTS, plan_for, settled, started

Body = dict[str, Any]
KINDS = ("Dask", "Ray")
SPECS: dict[str, Body] = {
    "Dask": {"worker": {"spec": {"containers": []}}},
    "Ray": {"workerGroupSpecs": [{"groupName": "workers"}]},
}


def body(kind: str = "Dask", **more: Any) -> Body:
    return spec(workers=None, cluster={"kind": kind, "ref": {"name": "shared"}}, **more)


def shared(kind: str = "Dask", **metadata: Any) -> Body:
    """The cluster that the run names."""
    meta = {"name": "shared", "namespace": KEY.namespace, "uid": "uid-shared", **metadata}
    return {"kind": f"{kind}Cluster", "metadata": meta, "spec": SPECS[kind]}


def leader(kind: str = "Dask", state: Any = None, **more: Any) -> Body:
    return pod(names.HEAD_COMPONENTS[kind], state, **{"uid": "leader", **more})


def seen(kind: str = "Dask", status: Body | None = None, **more: Any) -> Body:
    """The status after a pass over a run that uses the cluster; `more` as for `observed`."""
    children = {**RIGHTS, "job": job(body(kind)), "pods": [pod("driver")]}
    given = {"referenced": shared(kind), "leaders": [leader(kind)], **children, **more}
    if given["referenced"] is None:
        del given["referenced"], given["leaders"]
    before = status or started()
    plan = plan_for(observed(body(kind), status=before, **given))
    return plan.status or before


def running(kind: str) -> Body:
    """The status of a run that uses the cluster."""
    status = seen(kind)
    assert status["phase"] == "Running"
    return status


WAITS: dict[str, tuple[Body, str, str]] = {
    "absent": ({"referenced": None}, c.CLUSTER_NOT_FOUND, "there is no {kind}Cluster shared"),
    "being deleted": ({"deletionTimestamp": ago(1)}, c.CLUSTER_NOT_READY, "shared (spec.cluster.ref) is being deleted"),
    "no leader": ({"leaders": []}, c.CLUSTER_NOT_READY, "the {leader} of {kind}Cluster shared"),
    "leader starts": ({"leaders": "starting"}, c.CLUSTER_NOT_READY, "is not Ready: ImagePullBackOff"),
    "leader ends": ({"leaders": "leaving"}, c.CLUSTER_NOT_READY, "is not Ready"),
    "no Service": ({"has_service": False}, c.CLUSTER_NOT_READY, "has no Service for its {leader}"),
}


def changed(kind: str, change: Body) -> Body:
    given = dict(change)
    if "deletionTimestamp" in given:
        given = {"referenced": shared(kind, **given)}
    if given.get("leaders") == "starting":
        given["leaders"] = [leader(kind, {"waiting": {"reason": "ImagePullBackOff"}})]
    if given.get("leaders") == "leaving":
        given["leaders"] = [leader(kind, deleted=True)]
    return given


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WAITS)
def test_run_waits_with_the_cause_in_its_status_until_the_cluster_is_usable(kind: str, case: str) -> None:
    change, reason, words = WAITS[case]
    status = seen(kind, **changed(kind, change))

    assert (status["phase"], status["reason"]) == ("Starting", reason)
    assert words.format(kind=kind, leader=names.HEAD_COMPONENTS[kind]) in status["message"]
    assert "address" not in status.get("cluster", {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WAITS)
def test_cause_ends_the_run_at_its_start_deadline(kind: str, case: str) -> None:
    change, reason, _ = WAITS[case]
    status = seen(kind, started(age=601), **changed(kind, change))

    assert (status["phase"], status["reason"], status["finalPhase"]) == ("Stopping", reason, "Failed")
    assert "spec.startDeadlineSeconds" in status["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_usable_cluster_gives_its_address_and_is_remembered(kind: str) -> None:
    status = running(kind)["cluster"]

    assert status["address"].partition("//")[2].startswith("shared-") or status["address"].startswith("shared-")
    assert status["scheduler"]["uid"] == "leader"


LOSSES: dict[str, tuple[Body, str]] = {
    "deleted": ({"referenced": None}, "{kind}Cluster shared (spec.cluster.ref) was deleted"),
    "being deleted": ({"deletionTimestamp": ago(1)}, "{kind}Cluster shared (spec.cluster.ref) is being deleted"),
    "leader removed": ({"leaders": []}, "{kind}Cluster shared (spec.cluster.ref): pod"),
    "leader leaves": ({"leaders": "leaving"}, "{kind}Cluster shared (spec.cluster.ref): the {leader}'s pod"),
    "leader restarted": ({"restarts": 1}, "{kind}Cluster shared (spec.cluster.ref): the {leader} in pod"),
    "another leader": ({"uid": "another"}, "{kind}Cluster shared (spec.cluster.ref): pod"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("limit", [0, 3])
def test_loss_of_the_cluster_ends_the_run_and_names_it(kind: str, case: str, limit: int) -> None:
    """Whatever backoffLimit is: the operator cannot build that cluster again."""
    change, words = LOSSES[case]
    if {"restarts", "uid"} & set(change):
        change = {"leaders": [leader(kind, **change)]}
    given = body(kind)
    given["flow"]["backoffLimit"] = limit
    more = {"referenced": shared(kind), "leaders": [leader(kind)], **changed(kind, change)}
    if more["referenced"] is None:
        more = {}
    found = observed(given, status=running(kind), job=job(given), pods=[pod("driver")], **RIGHTS, **more)
    status = settled(found)

    assert (status["phase"], status["finalPhase"], status["reason"]) == ("Stopping", "Failed", "ClusterLost")
    assert words.format(kind=kind, leader=names.HEAD_COMPONENTS[kind]) in status["message"]


def test_cluster_that_is_not_ready_for_a_moment_is_not_lost() -> None:
    unready = leader()
    unready["status"]["conditions"][1]["status"] = "False"
    status = seen(status=running("Dask"), leaders=[unready])

    assert (status["phase"], status["reason"]) == ("Running", c.CLUSTER_NOT_READY)


def test_loss_gives_no_advice_about_fields_that_the_run_does_not_have() -> None:
    killed = leader(state={"running": {}}, restarts=1)
    killed["status"]["containerStatuses"][0]["lastState"] = ended(137, reason="OOMKilled")
    message = seen(status=running("Dask"), leaders=[killed])["message"]

    assert "OutOfMemory" in message
    assert "spec.cluster.scheduler" not in message


def test_flow_that_completed_before_the_loss_has_succeeded() -> None:
    status = seen(status=running("Dask"), leaders=[], pods=[pod("driver", ended(0, outcome(), "Completed"))])

    assert status["finalPhase"] == "Succeeded"


def test_passes_follow_one_another_while_a_run_uses_the_cluster() -> None:
    """No watch reports a loss."""
    plan = plan_for(
        observed(
            body(), status=running("Dask"), referenced=shared(), leaders=[leader()], job=job(body()),
            pods=[pod("driver")], **RIGHTS,
        )
    )  # fmt: skip

    assert plan.requeue == REFERENCE_SECONDS
    assert REFERENCE_SECONDS + FRESH_SECONDS < 8, "a loss must end the run within 10 s"


def leader_labels(kind: str) -> dict[str, str]:
    """Labels that the upstream operator puts on the scheduler or head of the cluster."""
    if kind == "Dask":
        return {"dask.org/cluster-name": "shared", "dask.org/component": "scheduler"}
    return {"ray.io/cluster": "shared", "ray.io/node-type": "head"}


def exist(api: FakeApi, kind: str = "Dask") -> None:
    """Put the cluster, its leader and its Service on the API server, and a pod of another cluster."""
    api.objects.create(BACKENDS[kind].resource, KEY.namespace, shared(kind))
    made = leader(kind)
    for name, labels in (("leader", leader_labels(kind)), ("stranger", {"app": "x"})):
        metadata = {**made["metadata"], "name": name, "uid": name, "labels": labels}
        api.objects.create(POD, KEY.namespace, {**made, "metadata": metadata})
    service = {"metadata": {"name": BACKENDS[kind].service("shared")}}
    api.objects.create(SERVICE, KEY.namespace, service)


class TestReads:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_read_finds_leader_and_service(self, api: FakeApi, kube: Kube, kind: str) -> None:
        exist(api, kind)
        found = await ReferencedClusters().read(kube, BACKENDS[kind], KEY.namespace, "shared")

        assert found.cluster is not None
        assert [(item.name, item.component, item.ready) for item in found.head_pods] == [
            ("leader", names.HEAD_COMPONENTS[kind], True)
        ]
        assert found.has_service

    async def test_read_finds_nothing_when_the_cluster_does_not_exist(self, api: FakeApi, kube: Kube) -> None:
        found = await ReferencedClusters().read(kube, DaskBackend(), KEY.namespace, "shared")

        assert (found.cluster, found.head_pods, found.has_service) == (None, (), False)

    async def test_many_runs_cost_as_many_requests_as_one(self, api: FakeApi, kube: Kube) -> None:
        exist(api)
        reads = ReferencedClusters()
        await asyncio.gather(*(reads.read(kube, DaskBackend(), KEY.namespace, "shared") for _ in range(20)))

        assert len(api.requests) == 3

    async def test_read_is_made_again_when_it_must_be_fresh(self, api: FakeApi, kube: Kube) -> None:
        exist(api)
        reads = ReferencedClusters()
        await reads.read(kube, DaskBackend(), KEY.namespace, "shared")
        api.objects.delete(DASK_CLUSTER, KEY.namespace, "shared")

        assert (await reads.read(kube, DaskBackend(), KEY.namespace, "shared")).cluster is not None
        assert (await reads.read(kube, DaskBackend(), KEY.namespace, "shared", fresh=0.0)).cluster is None

    async def test_failed_read_does_not_count_as_a_loss(self, api: FakeApi, kube: Kube) -> None:
        exist(api)
        reads = ReferencedClusters()
        api.inject(Answer(503), "GET", POD)
        with pytest.raises(ApiUnavailable):
            await reads.read(kube, DaskBackend(), KEY.namespace, "shared")

        assert (await reads.read(kube, DaskBackend(), KEY.namespace, "shared")).head_pods


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube) -> Iterator[Passes]:
    """An operator."""
    made = Passes(kube, SETTINGS)
    running = made.running()
    loop_runner.run(running.__aenter__())
    yield made
    loop_runner.run(running.__aexit__(None, None, None))


def status_of(api: FakeApi) -> Object:
    found: Object = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name).get("status") or {}
    return found


async def test_run_uses_a_cluster_from_when_it_exists_until_it_is_lost(api: FakeApi, passes: Passes) -> None:
    """The operator changes nothing of that cluster."""
    api.objects.create(FLOW_RUN, KEY.namespace, run(body()))
    await passes.make()
    assert (status_of(api)["phase"], status_of(api)["reason"]) == ("Starting", c.CLUSTER_NOT_FOUND)
    assert api.objects.all(JOB) == []

    exist(api)
    passes.memory.referenced_clusters = ReferencedClusters()
    await passes.make()
    (made,) = api.objects.all(JOB)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made["metadata"]["name"], "controller": True}
    driver = pod("driver")
    metadata = {**driver["metadata"], "ownerReferences": [{**owner, "uid": made["metadata"]["uid"]}]}
    api.objects.create(POD, KEY.namespace, {**driver, "metadata": metadata})
    passes.watch(api.objects)
    await passes.settle()
    assert status_of(api)["phase"] == "Running"
    assert status_of(api)["cluster"]["address"] == "tcp://shared-scheduler.team.svc.cluster.local:8786"

    before = api.objects.get(DASK_CLUSTER, KEY.namespace, "shared")
    api.objects.delete(POD, KEY.namespace, "leader")
    passes.memory.referenced_clusters = ReferencedClusters()
    await passes.make()
    assert status_of(api)["reason"] == "ClusterLost"
    assert "DaskCluster shared" in status_of(api)["message"]
    assert api.objects.get(DASK_CLUSTER, KEY.namespace, "shared") == before
    assert [str(item) for item in api.requests if item.method != "GET" and item.name == "shared"] == []


@pytest.mark.parametrize(
    ("kind", "auth", "is_open"),
    [
        ("Ray", None, True),
        ("Ray", {"mode": "disabled"}, True),
        ("Ray", {"mode": "token"}, False),
        ("Dask", None, False),  # the scheme of its address says so
    ],
)
def test_driver_learns_that_a_ray_cluster_of_others_has_no_token(kind: str, auth: Body | None, is_open: bool) -> None:
    found = shared(kind)
    found["spec"] = {**found["spec"], **({"authOptions": auth} if auth else {})}
    plan = plan_for(observed(body(kind), status=started(), referenced=found, leaders=[leader(kind)], **RIGHTS))
    (made,) = [action.body for action in plan.actions if isinstance(action, Create) and action.resource is JOB]
    (container,) = made["spec"]["template"]["spec"]["containers"]

    assert (driver.ENV_CLUSTER_OPEN in [item["name"] for item in container["env"]]) == is_open


def test_driver_waits_for_the_cluster_with_the_others() -> None:
    """It starts while the scheduler does, so that its image is there when the cluster is."""
    plan = plan_for(observed(body(), status=started(), referenced=shared(), leaders=[], has_service=False, **RIGHTS))

    assert [action.resource for action in plan.actions if isinstance(action, Create)] == [JOB]

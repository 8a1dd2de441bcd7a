"""What a pass knows of children without pods, and of what is left of a finished run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.metadata import child_metadata, controlled_by, owner_reference
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.errors import ApiUnavailable
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.failures import WarningEvent
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.resources import (
    ACCESS,
    BY_KIND,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    EVENT,
    JOB,
    LEASE,
    POD,
    RAY_CLUSTER,
    ROOTS,
    Object,
)
from tests.support.fake_api import Answer, FakeApi, Hold, StaleList
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
    of_lease,
    run,
    spec,
)  # fmt: skip
from tests.support.observing import FINISHED, NAME, Rig, labelled_pod


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """Nothing known, and nothing there."""
    return Rig(api, kube)


def child_of(above: Object, kind: str, name: str) -> Object:
    """An object that another one controls, some seconds old."""
    owner = {**{field: above[field] for field in ("apiVersion", "kind")}, "controller": True}
    owner |= {field: above["metadata"][field] for field in ("name", "uid")}
    metadata = {**child_metadata(KEY, "cluster"), "name": name, "uid": f"uid-{kind}", "resourceVersion": "5"}
    metadata |= {"creationTimestamp": ago(30), "ownerReferences": [owner]}
    return {"apiVersion": above["apiVersion"], "kind": kind, "metadata": metadata}


class TestWarnings:
    def event(self, about: Object, number: int = 1, kind: str = "Warning") -> Object:
        """An Event about an object."""
        return {
            "metadata": {"name": f"event-{number}-{kind}", "namespace": KEY.namespace},
            "involvedObject": {"uid": about["metadata"]["uid"]},
            "type": kind,
            "reason": "FailedCreate",
            "message": "forbidden by policy",
        }

    def happened(self, rig: Rig, *events: Object) -> None:
        """Put Events onto the API server."""
        for event in events:
            rig.api.objects.create(EVENT, KEY.namespace, event)

    async def test_observe_reads_the_warnings_of_a_job_without_a_pod(self, rig: Rig) -> None:
        other = cluster()
        rig.known(run(), lease(), job())
        self.happened(rig, self.event(job()), self.event(job(), kind="Normal"), self.event(other, 2))

        assert (await rig.observe()).warnings == (WarningEvent("Job", NAME, "FailedCreate", "forbidden by policy"),)

    async def test_observe_reads_the_warnings_of_a_ray_cluster_without_a_head(self, rig: Rig) -> None:
        body = spec(flow=False, workers=None, cluster={"kind": "Ray"})
        made = ray_cluster(KEY, FlowRunSpec.model_validate(body), SETTINGS, Scale(0, 1, 0), KEYS)
        made["metadata"] |= {"uid": "uid-RayCluster", "resourceVersion": "1", "creationTimestamp": ago(30)}
        rig.known(run(body), lease(), of_lease(made))
        self.happened(rig, self.event(made))

        assert [warned.kind for warned in (await rig.observe()).warnings] == ["RayCluster"]

    @pytest.mark.parametrize(
        ("workers", "there", "is_read"),
        [(2, ["scheduler"], True), (0, ["scheduler"], False), (2, ["scheduler", "worker"], False)],
        ids=["no worker", "none requested", "a worker"],
    )
    async def test_observe_reads_the_warnings_of_a_worker_group_without_workers(
        self, rig: Rig, workers: int, there: list[str], is_read: bool
    ) -> None:
        """A quota can admit the scheduler's Deployment and refuse those of the workers."""
        made = cluster()
        made["spec"]["worker"]["replicas"] = workers
        group = child_of(made, "DaskWorkerGroup", f"{NAME}-default")
        rig.known(run(), lease(), made, group, deployment(), *map(labelled_pod, there))
        self.happened(rig, self.event(group))

        expected = [WarningEvent("DaskWorkerGroup", f"{NAME}-default", "FailedCreate", "forbidden by policy")]
        assert list((await rig.observe()).warnings) == expected * is_read

    async def test_observe_reads_no_warnings_of_a_job_with_a_pod(self, rig: Rig) -> None:
        rig.known(run(spec(workers=None)), lease(), job(), labelled_pod("driver"))
        self.happened(rig, self.event(job()))

        assert (await rig.observe()).warnings == ()
        assert rig.api.requests == []

    @pytest.mark.parametrize(
        ("limit", "state", "age", "is_read"),
        [
            (1, ended(1), 5, True),
            (1, ended(1), 25, False),
            (0, ended(1), 5, False),
            (1, ended(0), 5, False),
            (1, {"running": {}}, 5, False),
        ],
        ids=["since the last pod", "before the last pod", "no attempt left", "completed", "runs"],
    )
    async def test_observe_reads_the_warnings_of_a_job_between_two_attempts(
        self, rig: Rig, limit: int, state: Object, age: float, is_read: bool
    ) -> None:
        """A quota can refuse the second pod."""
        made = job()
        made["spec"]["backoffLimit"] = limit
        first = labelled_pod("driver")
        first["metadata"]["creationTimestamp"] = ago(20)
        first["status"]["containerStatuses"] = [{"name": "driver", "state": state, "restartCount": 0}]
        rig.known(run(spec(workers=None)), lease(), made, first)
        self.happened(rig, {**self.event(made), "lastTimestamp": ago(age)})

        assert [warned.reason for warned in (await rig.observe()).warnings] == ["FailedCreate"] * is_read

    async def test_observe_reads_no_warnings_of_a_job_that_is_new(self, rig: Rig) -> None:
        """Its controller needs a moment."""
        rig.known(run(), lease(), job(age=0))
        self.happened(rig, self.event(job()))

        assert (await rig.observe()).warnings == ()

    async def test_observe_reads_no_warnings_when_the_run_is_over(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED), job())
        self.happened(rig, self.event(job()))

        assert (await rig.observe()).warnings == ()


class TestNothingLeft:
    async def test_observe_verifies_that_nothing_is_left_of_a_finished_run(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED))

        assert (await rig.observe()).verified_gone

    async def test_observe_reads_or_lists_every_root_pods_and_worker_groups(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED))
        await rig.observe()

        read = {request.resource for request in rig.api.requests if request.name}
        assert (read, {request.resource for request in rig.api.requests} - read) == (
            set(ROOTS[names.KIND]) - {RAY_CLUSTER}, {POD, DASK_WORKER_GROUP, RAY_CLUSTER}
        )  # fmt: skip
        assert {request.namespace for request in rig.api.requests} == {KEY.namespace}

    async def test_observe_makes_two_reads_when_the_api_server_reported_the_end_of_all_roots(self, rig: Rig) -> None:
        rig.known(run(status={**FINISHED, "cluster": {"kind": "Dask"}}))
        for obj in (cluster(), job(), lease(), *access()):
            rig.known(obj)
            rig.store.remove(BY_KIND[obj["kind"]], obj["metadata"]["uid"], is_gone=True)

        assert (await rig.observe()).verified_gone
        assert {request.resource for request in rig.api.requests} == {POD, DASK_WORKER_GROUP}

    async def test_observe_reads_a_root_whose_label_was_removed(self, rig: Rig) -> None:
        """Its watch reports that in the same way as a deletion."""
        rig.known(run(status=FINISHED), job())
        rig.there(job())
        rig.store.remove(JOB, job()["metadata"]["uid"], 7)

        assert not (await rig.observe()).verified_gone
        assert [obj["kind"] for obj in rig.store.children(KEY, JOB)] == ["Job"]

    async def test_observe_reads_a_root_again_when_it_was_created_after_its_end(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED), job())
        rig.store.remove(JOB, job()["metadata"]["uid"], is_gone=True)
        rig.known(job(uid="second"))
        rig.store.remove(JOB, "second")
        await rig.observe()

        assert JOB in {request.resource for request in rig.api.requests}

    async def test_observe_reads_no_ray_cluster_when_the_run_had_a_dask_cluster(self, rig: Rig) -> None:
        rig.known(run(status={**FINISHED, "cluster": {"kind": "Dask"}}))
        await rig.observe()
        read = {request.resource for request in rig.api.requests}

        assert (RAY_CLUSTER in read, DASK_CLUSTER in read) == (False, True)

    @pytest.mark.parametrize("resource", ROOTS[names.KIND], ids=lambda resource: resource.kind)
    async def test_observe_finds_what_is_left_and_stores_it(self, rig: Rig, resource: Any) -> None:
        rig.known(run(status=FINISHED))
        metadata = child_metadata(KEY, "cluster")
        metadata["name"] = names.driver_name(KEY.name, KEY.uid) if resource in ACCESS else metadata["name"]
        left = {"kind": resource.kind, "metadata": metadata}
        rig.there(controlled_by(left, owner_reference(KEY)) if resource is LEASE else of_lease(left))

        assert not (await rig.observe()).verified_gone
        assert len(rig.store.children(KEY, resource)) == 1

    async def test_observe_finds_a_worker_group_that_has_no_owner_yet(self, rig: Rig) -> None:
        """dask-kubernetes writes the owner after the creation, or never when the cluster is gone by then."""
        rig.known(run(status=FINISHED))
        labels = names.child_labels(KEY.name, KEY.uid, "cluster")
        metadata = {"name": f"{NAME}-default", "namespace": KEY.namespace, "labels": labels}
        rig.there({"kind": "DaskWorkerGroup", "metadata": metadata})
        found = await rig.observe()

        assert not found.verified_gone
        (left,) = (await rig.observe()).orphans
        assert left["metadata"]["name"] == f"{NAME}-default"

    @pytest.mark.parametrize("labels", [{}, {"team": "research"}, child_metadata(KEY, "cluster")["labels"]])
    async def test_observe_finds_a_lease_without_an_owner(self, rig: Rig, labels: Any) -> None:
        """Its driver can remove owners and labels. The name is that of the run."""
        rig.known(run(status=FINISHED))
        rig.there({"kind": "Lease", "metadata": {**child_metadata(KEY, "cluster"), "labels": labels}})
        found = await rig.observe()

        assert not found.verified_gone
        assert [obj["kind"] for obj in (await rig.observe()).orphans] == ["Lease"]

    @pytest.mark.parametrize(
        "resource",
        [resource for resource in (*ROOTS[names.KIND], POD, DASK_WORKER_GROUP) if resource is not LEASE],
        ids=lambda resource: resource.kind,
    )
    async def test_observe_ignores_what_only_labels_tie_to_the_run(self, rig: Rig, resource: Any) -> None:
        rig.known(run(status=FINISHED))
        metadata = child_metadata(KEY, "cluster")
        rig.there({"kind": resource.kind, "metadata": metadata})

        assert (await rig.observe()).verified_gone

    async def test_observe_verifies_nothing_when_a_list_fails(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED))
        rig.api.inject(Answer(500), "GET", POD)

        with pytest.raises(ApiUnavailable):
            await rig.observe()

    async def test_observe_ignores_kinds_that_are_not_installed(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED))
        rig.api.installed -= {RAY_CLUSTER, DASK_CLUSTER, DASK_WORKER_GROUP}

        assert (await rig.observe()).verified_gone

    async def test_observe_lists_nothing_when_the_store_has_a_child(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED), job(), *access())

        assert not (await rig.observe()).verified_gone
        assert rig.api.requests == []

    async def test_observe_reads_the_drivers_rights_that_went_with_the_lease(self, rig: Rig) -> None:
        """No watch reports their end."""
        rig.known(run(status=FINISHED), *access())
        found = await rig.observe()

        assert found.verified_gone
        assert {resource for resource in ACCESS if rig.store.children(KEY, resource)} == set()

    async def test_observe_verifies_nothing_while_the_drivers_rights_are_there(self, rig: Rig) -> None:
        rig.known(run(status=FINISHED), *access())
        rig.there(*access())
        found = await rig.observe()

        assert not found.verified_gone
        assert len(found.orphans) == len(ACCESS)

    async def test_observe_lists_nothing_when_that_was_verified_before(self, rig: Rig) -> None:
        verified = {"type": "ClusterDeleted", "status": "True", "reason": "NothingLeft", "message": ""}
        rig.known(run(status={"conditions": [*FINISHED["conditions"], verified]}))
        await rig.observe()

        assert rig.api.requests == []

    async def test_observe_lists_nothing_when_the_run_goes_on(self, rig: Rig) -> None:
        rig.known(run())

        assert not (await rig.observe()).verified_gone
        assert rig.api.requests == []

    async def test_observe_keeps_what_is_newer_than_a_list(self, rig: Rig) -> None:
        """A watch event can arrive while the lists are under way, and be newer than they are."""
        rig.known(run(status=FINISHED))
        rig.there(job())
        held = Hold()
        rig.api.inject(StaleList(rig.api.objects.snapshot()), "GET", JOB)
        rig.api.inject(held, "GET", POD)
        observing = asyncio.create_task(rig.observe())
        await held.arrived.wait()
        newer = rig.api.objects.merge(JOB, KEY.namespace, NAME, {"metadata": {"labels": {"newer": "true"}}})
        rig.known(newer)
        held.released.set()

        assert not (await observing).verified_gone
        assert rig.store.children(KEY, JOB) == [projected(JOB, newer)]

"""How the operator deletes children and changes their number of workers."""

from __future__ import annotations

import asyncio

import pytest

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.metadata import controlled_by, owner_reference
from flowcluster_operator.errors import Conflict, NotFound, Refused
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Delete, DropFinalizers, SetWorkers
from flowcluster_operator.resources import (
    BY_KIND,
    DASK_CLUSTER,
    FLOW_RUN,
    JOB,
    LEASE,
    RAY_CLUSTER,
    SERVICE_ACCOUNT,
    SHARED_CLUSTER,
    Object,
    Resource,
)
from tests.support.applying import NAME, Rig, uid, without_identity
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, cluster, job, of_lease, spec


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """A run without children."""
    return Rig(api, kube)


class TestDelete:
    async def test_delete_stores_that_the_child_is_being_deleted(self, rig: Rig) -> None:
        made = rig.known(JOB, job(finalizers=["x/y"]))
        await rig.apply(Delete(JOB, NAME, uid(made)))

        (known,) = rig.store.children(KEY, JOB)
        assert "deletionTimestamp" in known["metadata"]

    async def test_delete_forgets_the_child_when_it_is_gone_immediately(self, rig: Rig) -> None:
        account = of_lease(driver_access(KEY, FlowRunSpec.model_validate(spec()), None)[2].body)
        made = rig.known(SERVICE_ACCOUNT, account)
        await rig.apply(Delete(SERVICE_ACCOUNT, account["metadata"]["name"], uid(made), background=True))

        assert rig.store.children(KEY, SERVICE_ACCOUNT) == []
        assert rig.api.objects.all(SERVICE_ACCOUNT) == []

    async def test_delete_forgets_the_child_when_it_was_gone_already(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.objects.delete(JOB, KEY.namespace, NAME)
        await rig.apply(Delete(JOB, NAME, uid(made)))

        assert rig.store.children(KEY, JOB) == []

    async def test_late_watch_event_does_not_bring_back_a_child_that_was_gone_already(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.objects.delete(JOB, KEY.namespace, NAME)
        await rig.apply(Delete(JOB, NAME, uid(made)))
        rig.store.put_reported(JOB, made)

        assert rig.store.children(KEY, JOB) == []

    async def test_delete_spares_a_namesake(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.objects.delete(JOB, KEY.namespace, NAME)
        namesake = rig.api.objects.create(JOB, KEY.namespace, without_identity(job()))
        await rig.apply(Delete(JOB, NAME, uid(made)))

        assert rig.api.objects.all(JOB) == [namesake]

    async def test_delete_raises_refused_when_it_is_forbidden(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.inject(Answer(403, "forbidden"), "DELETE")

        with pytest.raises(Refused):
            await rig.apply(Delete(JOB, NAME, uid(made)))
        assert len(rig.store.children(KEY, JOB)) == 1

    @pytest.mark.parametrize(
        "resource",
        [resource for resource in BY_KIND.values() if resource is not SHARED_CLUSTER],
        ids=lambda resource: resource.kind,
    )
    async def test_delete_keeps_the_child_when_the_server_wrongly_reports_it_as_gone(
        self, rig: Rig, resource: Resource
    ) -> None:
        """A proxy in front of the API server can answer with 404. The operator never deletes a child that it forgot."""
        body = controlled_by({**job(), "kind": resource.kind, "apiVersion": resource.api_version}, owner_reference(KEY))
        there = {FLOW_RUN: rig.run, LEASE: rig.lease}
        made = there.get(resource) or rig.known(resource, body)
        rig.api.inject(Answer(404), "DELETE")

        with pytest.raises(NotFound):
            await rig.apply(Delete(resource, made["metadata"]["name"], uid(made)))
        known = [rig.store.owner(KEY)] if resource is FLOW_RUN else rig.store.children(KEY, resource)
        assert [uid(obj) for obj in known if obj is not None] == [uid(made)]

    async def test_delete_forgets_the_child_when_its_kind_is_not_installed_any_more(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.installed.discard(DASK_CLUSTER)
        await rig.apply(Delete(DASK_CLUSTER, NAME, uid(made)))

        assert rig.store.children(KEY, DASK_CLUSTER) == []

    async def test_drop_finalizers_ends_the_deletion_of_the_child(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster(finalizers=["kopf.zalando.org/KopfFinalizerMarker"]))
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)
        version = rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME)["metadata"]["resourceVersion"]
        await rig.apply(DropFinalizers(DASK_CLUSTER, NAME, uid(made), (), version))

        assert rig.api.objects.all(DASK_CLUSTER) == []

    async def test_drop_finalizers_keeps_those_that_another_party_added_meanwhile(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster(finalizers=["x/y"]))
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)

        with pytest.raises(Conflict):
            await rig.apply(DropFinalizers(DASK_CLUSTER, NAME, uid(made), (), "1"))
        (known,) = rig.store.children(KEY, DASK_CLUSTER)
        assert known == projected(DASK_CLUSTER, rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME))


class TestSetWorkers:
    async def test_set_workers_writes_the_number_and_stores_it(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        await rig.apply(SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 7}}}))

        (known,) = rig.store.children(KEY, DASK_CLUSTER)
        assert known == projected(DASK_CLUSTER, rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME))
        assert known["spec"]["worker"]["replicas"] == 7

    async def test_set_workers_repeats_no_request_while_another_run_does(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        retry = SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 0}}}, is_retry=True)
        rig.memory.worker_requests.claim(KEY._replace(name="other"), asyncio.get_running_loop().time())
        await rig.apply(retry)

        assert rig.api.seen("PATCH") == []

    async def test_set_workers_applies_the_steps_of_a_json_patch(self, rig: Rig) -> None:
        made = rig.known(RAY_CLUSTER, {**cluster(), "spec": {"size": 1}})
        steps: list[Object] = [{"op": "replace", "path": "/spec/size", "value": 2}]
        await rig.apply(SetWorkers(RAY_CLUSTER, NAME, uid(made), steps))

        assert rig.api.objects.get(RAY_CLUSTER, KEY.namespace, NAME)["spec"] == {"size": 2}

    async def test_set_workers_spares_a_namesake(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)
        namesake = rig.api.objects.create(DASK_CLUSTER, KEY.namespace, without_identity(cluster()))
        await rig.apply(SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 7}}}))

        assert rig.api.objects.all(DASK_CLUSTER) == [namesake]

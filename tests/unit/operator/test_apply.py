"""How a plan is carried out on an API server, and what the operator knows afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.metadata import controlled_by, lease_reference, owner_reference
from flowcluster_operator.errors import ApiUnavailable, Conflict, NotFound, Refused
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.plan import Create, Delete, DropFinalizers, Emit, Plan, SetWorkers
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.resources import (
    BY_KIND,
    DASK_CLUSTER,
    EVENT,
    FLOW_RUN,
    JOB,
    LEASE,
    RAY_CLUSTER,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    SHARED_CLUSTER,
    Object,
    Resource,
)
from tests.support.fake_api import Answer, Drop, FakeApi, Hold
from tests.support.makers import KEY, LEASE_UID, NOW, cluster, job, lease, of_lease, run, spec

NAME = names.child_name(KEY.name, KEY.uid)
STARTING: Object = {"phase": "Starting"}
CREATED = Emit("Normal", "Created", "created Job greetings")


class Rig:
    """A run with its Lease, what the operator knows of it, and the API server.

    Attributes:
        run: the FlowRun as the operator observed it.
        lease: its Lease.
    """

    def __init__(self, api: FakeApi, kube: Kube) -> None:
        self.api, self._kube = api, kube
        self.store, self.memory = Store(), Memory()
        self.run = api.objects.create(FLOW_RUN, KEY.namespace, run())
        self.store.put(FLOW_RUN, self.run)
        self.lease = api.objects.create(LEASE, KEY.namespace, lease())
        self.store.put(LEASE, self.lease)

    async def carry_out(self, *actions: Any, **plan: Any) -> list[Rejection]:
        """Apply a plan of these actions, to the run as it was observed."""
        return await apply(Plan(actions, **plan), KEY, self.run, self.store, self.memory, self._kube, NOW)

    def known(self, resource: Resource, body: Object) -> Object:
        """Create an object that the operator knows."""
        made = self.api.objects.create(resource, KEY.namespace, without_identity(body))
        self.store.put(resource, made)
        return made

    def status(self) -> Object | None:
        """Return the status of the FlowRun on the API server."""
        found: Object | None = self.api.objects.get(FLOW_RUN, KEY.namespace, KEY.name).get("status")
        return found


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """A run without children."""
    return Rig(api, kube)


def without_identity(body: Object) -> Object:
    """Return an object as a client sends it: without what the API server gives it."""
    given = ("uid", "resourceVersion", "creationTimestamp")
    return {**body, "metadata": {name: value for name, value in body["metadata"].items() if name not in given}}


def creating(resource: Resource = JOB, body: Object | None = None) -> Create:
    """The action that creates a child."""
    return Create(resource, without_identity(body or job()))


def uid(obj: Object) -> str:
    """The UID of an object."""
    return str(obj["metadata"]["uid"])


class TestCreate:
    async def test_create_makes_the_child_and_stores_it(self, rig: Rig) -> None:
        assert await rig.carry_out(creating()) == []

        assert rig.store.children(KEY, JOB) == [projected(JOB, obj) for obj in rig.api.objects.all(JOB)]
        assert len(rig.api.objects.all(JOB)) == 1

    @pytest.mark.parametrize("status", [400, 403, 422])
    async def test_create_returns_a_rejection_when_the_child_is_refused(self, rig: Rig, status: int) -> None:
        rig.api.inject(Answer(status, "exceeded quota"), "POST")

        assert await rig.carry_out(creating()) == [Rejection("Job", NAME, status, "exceeded quota")]

    async def test_create_returns_a_rejection_when_the_kind_is_not_installed(self, rig: Rig) -> None:
        rig.api.installed.discard(DASK_CLUSTER)
        (rejection,) = await rig.carry_out(creating(DASK_CLUSTER, cluster()))

        assert (rejection.kind, rejection.status) == ("DaskCluster", 404)

    async def test_create_makes_the_other_children_when_one_is_refused(self, rig: Rig) -> None:
        rig.api.inject(Answer(403), "POST", DASK_CLUSTER)
        rejections = await rig.carry_out(creating(DASK_CLUSTER, cluster()), creating())

        assert [rejection.kind for rejection in rejections] == ["DaskCluster"]
        assert len(rig.store.children(KEY, JOB)) == 1

    async def test_create_raises_unavailable_when_the_server_is_overloaded(self, rig: Rig) -> None:
        rig.api.inject(Answer(429, retry_after="3"), "POST")

        with pytest.raises(ApiUnavailable) as caught:
            await rig.carry_out(creating())
        assert caught.value.retry_after == 3

    async def test_create_adopts_the_child_when_an_earlier_answer_was_lost(self, rig: Rig) -> None:
        rig.api.inject(Drop(after_write=True), "POST")
        with pytest.raises(ApiUnavailable):
            await rig.carry_out(creating())

        assert await rig.carry_out(creating()) == []
        assert rig.store.children(KEY, JOB) == [projected(JOB, obj) for obj in rig.api.objects.all(JOB)]

    async def test_create_returns_a_rejection_when_a_stranger_has_the_name(self, rig: Rig) -> None:
        stranger = {"metadata": {"name": NAME, "namespace": KEY.namespace, "labels": job()["metadata"]["labels"]}}
        rig.api.objects.create(JOB, KEY.namespace, stranger)
        (rejection,) = await rig.carry_out(creating())

        assert (rejection.status, "not the run's" in rejection.message) == (409, True)
        assert rig.store.children(KEY, JOB) == []

    @pytest.mark.parametrize(
        ("owner", "is_adopted"),
        [
            (lease_reference(lease()), True),
            (lease_reference({"metadata": {"name": NAME, "uid": "uid-of-an-earlier-lease"}}), False),
            (owner_reference(KEY), False),
        ],
        ids=["the run's Lease", "an earlier Lease", "the FlowRun"],
    )
    async def test_create_adopts_only_what_has_the_same_controller(
        self, rig: Rig, owner: Object, is_adopted: bool
    ) -> None:
        rig.api.objects.collects_garbage = False  # the earlier Lease is gone
        found = rig.api.objects.create(JOB, KEY.namespace, without_identity(controlled_by(job(), owner)))
        rejections = await rig.carry_out(creating())

        assert (rejections == []) is is_adopted
        assert [obj["metadata"]["uid"] for obj in rig.store.children(KEY, JOB)] == [uid(found)] * is_adopted

    async def test_create_raises_conflict_when_no_object_has_the_name(self, rig: Rig) -> None:
        """It was deleted in between, or the conflict is about a quota; the next pass waits longer each time."""
        rig.api.inject(Answer(409, "quota is being updated"), "POST")

        with pytest.raises(Conflict, match="quota"):
            await rig.carry_out(creating())
        assert rig.store.children(KEY, JOB) == []

    async def test_create_raises_not_found_when_the_role_of_a_binding_is_not_known_yet(self, rig: Rig) -> None:
        """The API server learns of a new Role a moment after its creation."""
        _, binding, _ = driver_access(KEY, FlowRunSpec.model_validate(spec()), None)
        rig.api.inject(Answer(404, "role not found"), "POST", ROLE_BINDING)

        with pytest.raises(NotFound):
            await rig.carry_out(binding)


class TestCreateKeys:
    async def test_create_keys_fills_the_secret(self, rig: Rig) -> None:
        await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY))))

        (secret,) = rig.api.objects.all(SECRET)
        assert sorted(secret["data"]) == ["auth_token", "ca.crt", "tls.crt", "tls.key"]
        assert rig.memory.credentials == {KEY: (LEASE_UID, secret["metadata"]["name"])}

    async def test_create_keys_reads_no_secret(self, rig: Rig) -> None:
        """The operator has no right to."""
        await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY))))
        await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY))))

        assert rig.api.seen(resource=SECRET) == ["POST Secret"] * 2

    async def test_create_keys_uses_no_secret_that_exists_already(self, rig: Rig) -> None:
        """Another client may have created it, with contents that it knows."""
        planted = {"metadata": {"name": NAME, "namespace": KEY.namespace}, "data": {"tls.key": "known"}}
        rig.api.objects.create(SECRET, KEY.namespace, planted)
        await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY))))
        _, name = rig.memory.credentials[KEY]

        assert name.startswith(f"{NAME}-")
        assert rig.api.objects.get(SECRET, KEY.namespace, name)["data"].keys() > {"tls.key"}

    async def test_create_keys_raises_conflict_when_the_name_is_taken(self, rig: Rig) -> None:
        rig.api.inject(Answer(409, "already exists"), "POST", SECRET)

        with pytest.raises(Conflict):
            await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY))))
        assert rig.memory.credentials == {}

    async def test_create_keys_returns_a_rejection_when_the_secret_is_refused(self, rig: Rig) -> None:
        rig.api.inject(Answer(403, "exceeded quota"), "POST", SECRET)

        assert await rig.carry_out(Create(SECRET, of_lease(credentials_secret(KEY)))) == [
            Rejection("Secret", NAME, 403, "exceeded quota")
        ]
        assert rig.memory.credentials == {}


class TestDelete:
    async def test_delete_stores_that_the_child_is_being_deleted(self, rig: Rig) -> None:
        made = rig.known(JOB, job(finalizers=["x/y"]))
        await rig.carry_out(Delete(JOB, NAME, uid(made)))

        (known,) = rig.store.children(KEY, JOB)
        assert "deletionTimestamp" in known["metadata"]

    async def test_delete_forgets_the_child_when_it_is_gone_at_once(self, rig: Rig) -> None:
        account = of_lease(driver_access(KEY, FlowRunSpec.model_validate(spec()), None)[2].body)
        made = rig.known(SERVICE_ACCOUNT, account)
        await rig.carry_out(Delete(SERVICE_ACCOUNT, account["metadata"]["name"], uid(made), background=True))

        assert rig.store.children(KEY, SERVICE_ACCOUNT) == []
        assert rig.api.objects.all(SERVICE_ACCOUNT) == []

    async def test_delete_forgets_the_child_when_it_was_gone_already(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.objects.delete(JOB, KEY.namespace, NAME)
        await rig.carry_out(Delete(JOB, NAME, uid(made)))

        assert rig.store.children(KEY, JOB) == []

    async def test_delete_spares_a_namesake(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.objects.delete(JOB, KEY.namespace, NAME)
        namesake = rig.api.objects.create(JOB, KEY.namespace, without_identity(job()))
        await rig.carry_out(Delete(JOB, NAME, uid(made)))

        assert rig.api.objects.all(JOB) == [namesake]

    async def test_delete_raises_refused_when_it_is_forbidden(self, rig: Rig) -> None:
        made = rig.known(JOB, job())
        rig.api.inject(Answer(403, "forbidden"), "DELETE")

        with pytest.raises(Refused):
            await rig.carry_out(Delete(JOB, NAME, uid(made)))
        assert len(rig.store.children(KEY, JOB)) == 1

    @pytest.mark.parametrize(
        "resource",
        [resource for resource in BY_KIND.values() if resource is not SHARED_CLUSTER],
        ids=lambda resource: resource.kind,
    )
    async def test_delete_keeps_the_child_when_the_server_wrongly_reports_it_as_gone(
        self, rig: Rig, resource: Resource
    ) -> None:
        """A proxy in front of the API server can answer so. A child that is forgotten is never deleted."""
        body = controlled_by({**job(), "kind": resource.kind, "apiVersion": resource.api_version}, owner_reference(KEY))
        there = {FLOW_RUN: rig.run, LEASE: rig.lease}
        made = there.get(resource) or rig.known(resource, body)
        rig.api.inject(Answer(404), "DELETE")

        with pytest.raises(NotFound):
            await rig.carry_out(Delete(resource, made["metadata"]["name"], uid(made)))
        known = [rig.store.owner(KEY)] if resource is FLOW_RUN else rig.store.children(KEY, resource)
        assert [uid(obj) for obj in known if obj is not None] == [uid(made)]

    async def test_delete_forgets_the_child_when_its_kind_is_not_installed_any_more(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.installed.discard(DASK_CLUSTER)
        await rig.carry_out(Delete(DASK_CLUSTER, NAME, uid(made)))

        assert rig.store.children(KEY, DASK_CLUSTER) == []

    async def test_drop_finalizers_lets_the_child_go(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster(finalizers=["kopf.zalando.org/KopfFinalizerMarker"]))
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)
        version = rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME)["metadata"]["resourceVersion"]
        await rig.carry_out(DropFinalizers(DASK_CLUSTER, NAME, uid(made), (), version))

        assert rig.api.objects.all(DASK_CLUSTER) == []

    async def test_drop_finalizers_keeps_those_that_another_party_added_meanwhile(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster(finalizers=["x/y"]))
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)

        with pytest.raises(Conflict):
            await rig.carry_out(DropFinalizers(DASK_CLUSTER, NAME, uid(made), (), "1"))
        (known,) = rig.store.children(KEY, DASK_CLUSTER)
        assert known == projected(DASK_CLUSTER, rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME))


class TestSetWorkers:
    async def test_set_workers_writes_the_number_and_stores_it(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        await rig.carry_out(SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 7}}}))

        (known,) = rig.store.children(KEY, DASK_CLUSTER)
        assert known == projected(DASK_CLUSTER, rig.api.objects.get(DASK_CLUSTER, KEY.namespace, NAME))
        assert known["spec"]["worker"]["replicas"] == 7

    async def test_set_workers_repeats_no_request_while_another_run_does(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        retry = SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 0}}}, is_retry=True)
        rig.memory.worker_requests.claim(KEY._replace(name="other"), asyncio.get_running_loop().time())
        await rig.carry_out(retry)

        assert rig.api.seen("PATCH") == []

    async def test_set_workers_applies_the_steps_of_a_json_patch(self, rig: Rig) -> None:
        made = rig.known(RAY_CLUSTER, {**cluster(), "spec": {"size": 1}})
        steps: list[Object] = [{"op": "replace", "path": "/spec/size", "value": 2}]
        await rig.carry_out(SetWorkers(RAY_CLUSTER, NAME, uid(made), steps))

        assert rig.api.objects.get(RAY_CLUSTER, KEY.namespace, NAME)["spec"] == {"size": 2}

    async def test_set_workers_spares_a_namesake(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.objects.delete(DASK_CLUSTER, KEY.namespace, NAME)
        namesake = rig.api.objects.create(DASK_CLUSTER, KEY.namespace, without_identity(cluster()))
        await rig.carry_out(SetWorkers(DASK_CLUSTER, NAME, uid(made), {"spec": {"worker": {"replicas": 7}}}))

        assert rig.api.objects.all(DASK_CLUSTER) == [namesake]


class TestStatus:
    async def test_apply_writes_the_status_and_stores_it(self, rig: Rig) -> None:
        await rig.carry_out(status=STARTING)

        assert rig.status() == STARTING
        assert rig.store.owner(KEY) == rig.api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)

    async def test_apply_writes_nothing_when_the_plan_is_empty(self, rig: Rig) -> None:
        await rig.carry_out()

        assert rig.api.requests == []

    async def test_apply_writes_the_status_after_the_children(self, rig: Rig) -> None:
        await rig.carry_out(creating(), status=STARTING)

        assert [request.method for request in rig.api.requests] == ["POST", "PUT"]

    async def test_apply_raises_conflict_when_the_run_changed(self, rig: Rig) -> None:
        rig.api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})

        with pytest.raises(Conflict):
            await rig.carry_out(status=STARTING)
        assert rig.status() is None

    async def test_apply_raises_not_found_when_the_run_is_gone(self, rig: Rig) -> None:
        rig.api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)

        with pytest.raises(NotFound):
            await rig.carry_out(status=STARTING)

    async def test_apply_forgets_the_run_that_it_observed_when_that_is_stale(self, rig: Rig) -> None:
        """The next pass reads the FlowRun: with the stale one, each status write would fail until the watch is back."""
        rig.api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})

        with pytest.raises(Conflict):
            await rig.carry_out(status=STARTING)
        assert rig.store.owner(KEY) is None

    async def test_apply_writes_the_status_when_an_action_failed(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.inject(Answer(403, "forbidden"), "PATCH")

        with pytest.raises(Refused, match="forbidden"):
            await rig.carry_out(SetWorkers(DASK_CLUSTER, NAME, uid(made), {}), status=STARTING)
        assert rig.status() == STARTING

    async def test_apply_ends_all_its_writes_when_one_failed(self, rig: Rig) -> None:
        """A write that goes on would meet those of the run's next pass."""
        held = Hold()
        rig.api.inject(held, "POST", JOB)
        rig.api.inject(Answer(500), "POST", DASK_CLUSTER)
        applied = asyncio.create_task(rig.carry_out(creating(DASK_CLUSTER, cluster()), creating()))
        await held.arrived.wait()
        done, _ = await asyncio.wait({applied}, timeout=0.05)
        held.released.set()

        with pytest.raises(ApiUnavailable):
            await applied
        assert not done
        assert len(rig.store.children(KEY, JOB)) == 1


class TestEvents:
    async def test_apply_writes_events_about_the_run(self, rig: Rig) -> None:
        await rig.carry_out(events=(CREATED,))

        (event,) = rig.api.objects.all(EVENT)
        assert (event["type"], event["reason"], event["message"]) == ("Normal", "Created", CREATED.message)
        assert event["involvedObject"]["uid"] == KEY.uid
        assert event["lastTimestamp"] == "2026-01-01T12:00:00Z"

    async def test_apply_writes_events_after_the_status(self, rig: Rig) -> None:
        await rig.carry_out(status=STARTING, events=(CREATED,))

        assert rig.api.seen() == [f"PUT FlowRun {KEY.name} status", "POST Event"]

    async def test_apply_writes_no_event_when_the_status_was_not_written(self, rig: Rig) -> None:
        """The next pass finds the same and writes both."""
        rig.api.inject(Answer(500), "PUT")

        with pytest.raises(ApiUnavailable):
            await rig.carry_out(status=STARTING, events=(CREATED,))
        assert rig.api.objects.all(EVENT) == []

    @pytest.mark.parametrize("status", [403, 404, 500])
    async def test_apply_succeeds_when_an_event_cannot_be_written(
        self, rig: Rig, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        rig.api.inject(Answer(status), "POST", EVENT)

        assert await rig.carry_out(events=(CREATED,)) == []
        assert "team/greetings: Event Created" in caplog.text

"""How the operator creates children and the Secret with a run's credentials."""

from __future__ import annotations

import pytest

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.metadata import controlled_by, lease_reference, owner_reference
from flowcluster_operator.errors import ApiUnavailable, Conflict, NotFound
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    JOB,
    ROLE_BINDING,
    SECRET,
    Object,
)
from tests.support.applying import NAME, Rig, creating, uid, without_identity
from tests.support.fake_api import Answer, Drop, FakeApi
from tests.support.makers import KEY, LEASE_UID, cluster, job, lease, of_lease, spec


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """A run without children."""
    return Rig(api, kube)


class TestCreate:
    async def test_create_makes_the_child_and_stores_it(self, rig: Rig) -> None:
        assert await rig.apply(creating()) == []

        assert rig.store.children(KEY, JOB) == [projected(JOB, obj) for obj in rig.api.objects.all(JOB)]
        assert len(rig.api.objects.all(JOB)) == 1

    @pytest.mark.parametrize("status", [400, 403, 422])
    async def test_create_returns_a_rejection_when_the_child_is_refused(self, rig: Rig, status: int) -> None:
        rig.api.inject(Answer(status, "exceeded quota"), "POST")

        assert await rig.apply(creating()) == [Rejection("Job", NAME, status, "exceeded quota")]

    async def test_create_returns_a_rejection_when_the_kind_is_not_installed(self, rig: Rig) -> None:
        rig.api.installed.discard(DASK_CLUSTER)
        (rejection,) = await rig.apply(creating(DASK_CLUSTER, cluster()))

        assert (rejection.kind, rejection.status) == ("DaskCluster", 404)

    async def test_create_makes_the_other_children_when_one_is_refused(self, rig: Rig) -> None:
        rig.api.inject(Answer(403), "POST", DASK_CLUSTER)
        rejections = await rig.apply(creating(DASK_CLUSTER, cluster()), creating())

        assert [rejection.kind for rejection in rejections] == ["DaskCluster"]
        assert len(rig.store.children(KEY, JOB)) == 1

    async def test_create_raises_unavailable_when_the_server_is_overloaded(self, rig: Rig) -> None:
        rig.api.inject(Answer(429, retry_after="3"), "POST")

        with pytest.raises(ApiUnavailable) as caught:
            await rig.apply(creating())
        assert caught.value.retry_after == 3

    async def test_create_adopts_the_child_when_an_earlier_answer_was_lost(self, rig: Rig) -> None:
        rig.api.inject(Drop(after_write=True), "POST")
        with pytest.raises(ApiUnavailable):
            await rig.apply(creating())

        assert await rig.apply(creating()) == []
        assert rig.store.children(KEY, JOB) == [projected(JOB, obj) for obj in rig.api.objects.all(JOB)]

    async def test_create_returns_a_rejection_when_a_stranger_has_the_name(self, rig: Rig) -> None:
        stranger = {"metadata": {"name": NAME, "namespace": KEY.namespace, "labels": job()["metadata"]["labels"]}}
        rig.api.objects.create(JOB, KEY.namespace, stranger)
        (rejection,) = await rig.apply(creating())

        assert (rejection.status, "the run does not own it" in rejection.message) == (409, True)
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
        rejections = await rig.apply(creating())

        assert (rejections == []) is is_adopted
        assert [obj["metadata"]["uid"] for obj in rig.store.children(KEY, JOB)] == [uid(found)] * is_adopted

    async def test_create_raises_conflict_when_no_object_has_the_name(self, rig: Rig) -> None:
        """The object was deleted meanwhile, or the conflict is about a quota. Each next pass waits longer."""
        rig.api.inject(Answer(409, "quota is being updated"), "POST")

        with pytest.raises(Conflict, match="quota"):
            await rig.apply(creating())
        assert rig.store.children(KEY, JOB) == []

    async def test_create_raises_not_found_when_the_role_of_a_binding_is_not_known_yet(self, rig: Rig) -> None:
        """The API server's authorizer sees a new Role a moment after its creation."""
        _, binding, _ = driver_access(KEY, FlowRunSpec.model_validate(spec()), None)
        rig.api.inject(Answer(404, "role not found"), "POST", ROLE_BINDING)

        with pytest.raises(NotFound):
            await rig.apply(binding)


class TestCreateCredentials:
    async def test_create_credentials_fills_the_secret(self, rig: Rig) -> None:
        await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY))))

        (secret,) = rig.api.objects.all(SECRET)
        assert sorted(secret["data"]) == ["auth_token", "ca.crt", "tls.crt", "tls.key"]
        assert rig.memory.credentials == {KEY: (LEASE_UID, secret["metadata"]["name"])}

    async def test_create_credentials_reads_no_secret(self, rig: Rig) -> None:
        """The operator has no right to read Secrets."""
        await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY))))
        await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY))))

        assert rig.api.seen(resource=SECRET) == ["POST Secret"] * 2

    async def test_create_credentials_uses_no_secret_that_exists_already(self, rig: Rig) -> None:
        """Another client can have created it, with contents that it knows."""
        planted = {"metadata": {"name": NAME, "namespace": KEY.namespace}, "data": {"tls.key": "known"}}
        rig.api.objects.create(SECRET, KEY.namespace, planted)
        await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY))))
        _, name = rig.memory.credentials[KEY]

        assert name.startswith(f"{NAME}-")
        assert rig.api.objects.get(SECRET, KEY.namespace, name)["data"].keys() > {"tls.key"}

    async def test_create_credentials_raises_conflict_when_the_name_is_taken(self, rig: Rig) -> None:
        rig.api.inject(Answer(409, "already exists"), "POST", SECRET)

        with pytest.raises(Conflict):
            await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY))))
        assert rig.memory.credentials == {}

    async def test_create_credentials_returns_a_rejection_when_the_secret_is_refused(self, rig: Rig) -> None:
        rig.api.inject(Answer(403, "exceeded quota"), "POST", SECRET)

        assert await rig.apply(Create(SECRET, of_lease(credentials_secret(KEY)))) == [
            Rejection("Secret", NAME, 403, "exceeded quota")
        ]
        assert rig.memory.credentials == {}

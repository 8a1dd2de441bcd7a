"""What a pass knows of its run: from the store, and from the API server where the store cannot know."""

from __future__ import annotations

from typing import ClassVar

import pytest

from flowcluster_api import names
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.desired.metadata import lease_reference
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.errors import ApiUnavailable
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.resources import BY_KIND, DASK_CLUSTER, DEPLOYMENT, FLOW_RUN, JOB, LEASE, POD, Object
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, KEYS, LEASE_UID, access, ago, cluster, deployment, job, lease, run, spec, stored
from tests.support.observing import FINISHED, NAME, PARENT, Rig, child_run, clock, labelled_pod, parent_run


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """Nothing known, and nothing there."""
    return Rig(api, kube)


class TestStore:
    async def test_observe_sends_no_request_when_the_store_has_the_run(self, rig: Rig) -> None:
        """A pass over a healthy run costs the API server nothing."""
        status = {"cluster": {"name": NAME}, "flow": {"job": NAME}}
        rig.known(run(status=status), cluster(), job(), lease(), *access(), deployment(), labelled_pod("driver"))
        await rig.observe()

        assert rig.api.requests == []

    async def test_observe_finds_the_children_of_the_run(self, rig: Rig) -> None:
        rig.known(run(), cluster(), job(), lease(), *access(), deployment(), labelled_pod("worker"))
        found = await rig.observe()

        assert found.cluster == projected(DASK_CLUSTER, cluster())
        assert found.job == projected(JOB, job())
        assert found.lease == lease()
        assert sorted(obj["kind"] for obj in found.access) == ["Role", "RoleBinding", "ServiceAccount"]
        assert found.deployments == (projected(DEPLOYMENT, deployment()),)
        assert [item.name for item in found.pods] == ["worker-1"]
        assert found.credentials == KEYS

    async def test_observe_finds_the_secret_that_this_process_created(self, rig: Rig) -> None:
        rig.known(run(), lease())
        rig.memory.credentials[KEY] = (LEASE_UID, "made")

        assert (await rig.observe()).credentials == "made"

    @pytest.mark.parametrize("is_first", [True, False])
    async def test_observe_finds_the_present_lease_when_the_end_of_the_former_one_is_not_known(
        self, rig: Rig, is_first: bool
    ) -> None:
        own = {"uid": "former", "resourceVersion": "0", "deletionTimestamp": ago(20)}
        former = lease() | {"metadata": {**lease()["metadata"], **own}}
        rig.known(run(), *((former, lease()) if is_first else (lease(), former)))

        assert (await rig.observe()).lease == lease()

    async def test_observe_finds_no_secret_of_an_earlier_lease(self, rig: Rig) -> None:
        """A run that was suspended has a new Lease, and its former Secret is gone."""
        rig.known(run(), lease())
        rig.memory.credentials[KEY] = ("uid-earlier", "made")

        assert (await rig.observe()).credentials is None

    async def test_observe_takes_no_cluster_that_the_run_does_not_own(self, rig: Rig) -> None:
        """Labels can be copied."""
        rig.known(run(), cluster(ownerReferences=[{"kind": "FlowRun", "uid": "another", "controller": True}]))

        assert (await rig.observe()).cluster is None

    async def test_observe_passes_on_what_was_refused(self, rig: Rig) -> None:
        refused = Rejection("Job", NAME, 403, "exceeded quota")
        rig.known(run())

        assert (await rig.observe(refused)).rejections == (refused,)

    async def test_observe_counts_how_long_the_number_of_workers_is_at_rest(self, rig: Rig) -> None:
        rig.known(run(), lease(), cluster(), deployment("worker", number=1))
        requested = DaskBackend().requested_workers(cluster())
        rig.memory.stability.record(KEY, 1, requested + 1, clock() - 50)
        rig.memory.stability.record(KEY, 1, requested, clock() - 30)
        found = (await rig.observe()).stability

        assert found.unchanged_for == pytest.approx(30, abs=10)
        assert found.lowered_for == pytest.approx(30, abs=10)

    async def test_observe_counts_from_the_start_when_the_run_has_another_cluster(self, rig: Rig) -> None:
        """The cluster of a run that was suspended and resumed has the same name. Nothing was served to it yet."""
        rig.known(run(), lease(), cluster(), *(deployment("worker", number=number) for number in (1, 2)))
        rig.memory.stability.record(KEY, 2, DaskBackend().requested_workers(cluster()), clock() - 50)
        before = await rig.observe()
        for child in (cluster(), *(deployment("worker", number=number) for number in (1, 2))):
            rig.store.remove(BY_KIND[child["kind"]], child["metadata"]["uid"])
        rig.known(cluster(uid="another"))
        after = await rig.observe()

        assert (before.request.is_served, after.request.is_served) == (True, False)
        assert before.stability.unchanged_for == pytest.approx(50, abs=10)
        assert after.stability.unchanged_for == pytest.approx(0, abs=10)

    async def test_observe_counts_no_rest_when_there_is_no_cluster(self, rig: Rig) -> None:
        rig.known(run())

        assert (await rig.observe()).stability == ReplicaStability()


class TestMissing:
    async def test_observe_reads_the_run_when_the_store_lacks_it(self, rig: Rig) -> None:
        """A watch can be late."""
        rig.there(run())
        found = await rig.observe()

        assert found.run == rig.api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)
        assert rig.store.owner(KEY) == found.run

    async def test_observe_finds_no_run_when_it_is_gone(self, rig: Rig) -> None:
        found = await rig.remains()

        assert found.run is None
        assert not isinstance(found, Observed)

    async def test_observe_finds_no_run_when_a_namesake_took_its_place(self, rig: Rig) -> None:
        rig.there(run(uid="another"))

        assert (await rig.remains()).run is None

    async def test_observe_raises_unavailable_when_the_api_server_cannot_confirm(self, rig: Rig) -> None:
        """A request without an answer does not prove that a run is gone."""
        rig.api.inject(Answer(503), times=None)

        with pytest.raises(ApiUnavailable):
            await rig.observe()

    @pytest.mark.parametrize(
        ("status", "child"), [({"cluster": {"name": NAME}}, cluster()), ({"flow": {"job": NAME}}, job())]
    )
    async def test_observe_reads_a_recorded_child_when_the_store_lacks_it(
        self, rig: Rig, status: Object, child: Object
    ) -> None:
        rig.known(run(status=status), lease())
        rig.there(child)
        found = await rig.observe()

        assert uid(found.cluster or found.job) == uid(child)
        assert rig.api.seen()[0] == f"GET {child['kind']} {NAME}"

    @pytest.mark.parametrize(
        ("kind", "status"), [("DaskCluster", {"cluster": {"name": NAME}}), ("Job", {"flow": {"job": NAME}})]
    )
    async def test_observe_finds_no_recorded_child_when_it_is_gone(self, rig: Rig, kind: str, status: Object) -> None:
        """It reads the Lease, too: a child of a Lease that is not known yet would not count."""
        rig.known(run(status=status), lease())
        found = await rig.observe()

        assert (found.cluster, found.job) == (None, None)
        assert rig.api.seen() == [f"GET {kind} {NAME}", f"GET Lease {NAME}"]

    @pytest.mark.parametrize("status", [{"cluster": {"name": NAME}}, {"flow": {"job": NAME}}])
    async def test_observe_reads_the_lease_of_a_run_with_children(self, rig: Rig, status: Object) -> None:
        """A watch by labels reports an object as deleted when its label is edited."""
        rig.known(run(status=status))
        rig.there(lease())

        assert uid((await rig.observe()).lease) == LEASE_UID

    async def test_observe_takes_no_child_of_an_earlier_lease(self, rig: Rig) -> None:
        """It is being deleted with that."""
        rig.known(run(), {**lease(), "metadata": {**lease()["metadata"], "uid": "uid-another"}}, job(), *access())
        found = await rig.observe()

        assert (found.job, found.access) == (None, ())
        assert sorted(obj["kind"] for obj in found.orphans) == ["Job", "Role", "RoleBinding", "ServiceAccount"]

    async def test_observe_reads_no_recorded_child_when_the_run_is_over(self, rig: Rig) -> None:
        """Its children are being deleted: each is missing sooner or later."""
        rig.known(run(status={**FINISHED, "flow": {"job": NAME}, "cluster": {"name": NAME}}), lease(), *access())
        await rig.observe()

        assert rig.api.requests == []

    LEADER: ClassVar[Object] = {"name": NAME, "scheduler": {"pod": "scheduler-1", "uid": "pod-scheduler"}}

    async def test_observe_reads_the_scheduler_and_the_lease_when_the_store_lacks_them(self, rig: Rig) -> None:
        """A watch by labels reports an object as deleted when its label is edited."""
        rig.known(run(status={"cluster": self.LEADER}), cluster())
        rig.there(labelled_pod("scheduler"), lease())
        found = await rig.observe()

        assert [item.uid for item in found.head_pods()] == ["pod-scheduler"]
        assert found.lease is not None

    async def test_observe_finds_no_scheduler_and_no_lease_when_they_are_gone(self, rig: Rig) -> None:
        rig.known(run(status={"cluster": self.LEADER}), cluster())
        found = await rig.observe()

        assert (found.head_pods(), found.lease) == ([], None)

    async def test_observe_reads_no_scheduler_when_the_store_has_it(self, rig: Rig) -> None:
        rig.known(run(status={"cluster": self.LEADER}), cluster(), lease(), labelled_pod("scheduler"))
        await rig.observe()

        assert (rig.api.seen("GET", POD), rig.api.seen("GET", LEASE)) == ([], [])


class TestReferenced:
    BODY = spec(workers=None, cluster={"kind": "Dask", "ref": {"name": "shared"}})

    async def test_observe_reads_the_referenced_cluster(self, rig: Rig) -> None:
        rig.known(run(self.BODY))
        rig.there({"kind": "DaskCluster", "metadata": {"name": "shared", "namespace": KEY.namespace}})
        found = (await rig.observe()).referenced

        assert found is not None
        assert found["metadata"]["name"] == "shared"

    async def test_observe_finds_no_referenced_cluster_when_there_is_none(self, rig: Rig) -> None:
        rig.known(run(self.BODY))

        assert (await rig.observe()).referenced is None


class TestParent:
    async def test_observe_finds_the_parent(self, rig: Rig) -> None:
        rig.known(child_run(), parent_run())
        parent = (await rig.observe()).parent

        assert parent is not None
        assert (parent.name, parent.account) == ("parent", names.driver_name(PARENT.name, PARENT.uid))
        assert (parent.credentials, parent.is_over) == (None, False)

    async def test_observe_finds_the_keys_of_the_parent(self, rig: Rig) -> None:
        name = names.child_name(PARENT.name, PARENT.uid)
        labels = names.child_labels(PARENT.name, PARENT.uid, names.COMPONENT_DRIVER)
        held = stored(desired_lease(PARENT))
        made = job(name=name, ownerReferences=[lease_reference(held)], labels=labels)
        rig.known(child_run(), parent_run(), held, made)
        parent = (await rig.observe()).parent

        assert parent is not None
        assert parent.credentials == KEYS

    async def test_observe_finds_that_the_parent_is_over(self, rig: Rig) -> None:
        rig.known(child_run(), parent_run(FINISHED))
        parent = (await rig.observe()).parent

        assert parent is not None
        assert parent.is_over

    async def test_observe_reads_the_parent_when_the_store_lacks_it(self, rig: Rig) -> None:
        rig.known(child_run())
        rig.there(parent_run())

        assert (await rig.observe()).parent is not None

    async def test_observe_finds_no_parent_when_it_is_gone(self, rig: Rig) -> None:
        rig.known(child_run())

        assert (await rig.observe()).parent is None

    @pytest.mark.parametrize(
        "change",
        [{"controller": False}, {"uid": "another"}, {"name": "another"}, {"apiVersion": "other.dev/v1"}],
        ids=str,
    )
    async def test_observe_finds_no_parent_when_the_reference_does_not_agree(self, rig: Rig, change: Object) -> None:
        """The parent is the controller, by namespace, name and UID."""
        owner = {**names.reference(PARENT.name, PARENT.uid), "controller": True, **change}
        rig.known(child_run(ownerReferences=[owner]), parent_run())

        assert (await rig.observe()).parent is None

    async def test_observe_finds_no_parent_in_another_namespace(self, rig: Rig) -> None:
        foreign = parent_run()
        rig.known(child_run(), {**foreign, "metadata": {**foreign["metadata"], "namespace": "elsewhere"}})

        assert (await rig.observe()).parent is None

    async def test_observe_finds_no_parent_when_the_owner_is_another_kind(self, rig: Rig) -> None:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": PARENT.name, "uid": PARENT.uid}
        rig.known(child_run(ownerReferences=[owner]), parent_run())

        assert (await rig.observe()).parent is None


def uid(obj: Object | None) -> str:
    """The UID of an object."""
    assert obj is not None
    return str(obj["metadata"]["uid"])

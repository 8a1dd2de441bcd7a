"""Which objects belong to a run: those that a chain of controller owner references leads from, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import names
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.network_policy import network_policies
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import (
    BY_KIND,
    DEPLOYMENT,
    FLOW_RUN,
    JOB,
    LEASE,
    OWNERS,
    POD,
    REPLICA_SET,
    SECRET,
    WATCHED,
    Object,
)
from flowcluster_operator.settings import Settings
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, access, cluster, deployment, job, lease, of_lease, run, spec
from tests.support.observing import NAME, child_run, labelled_pod
from tests.support.passes import Passes

#: Without the labels that no decision reads: the store drops them.
LABELS = {
    name: value
    for name, value in names.child_labels(KEY.name, KEY.uid, "worker").items()
    if name != names.LABEL_MANAGED_BY
}


def made(kind: str, name: str, above: Object | None, namespace: str = KEY.namespace, **metadata: Any) -> Object:
    """An object that another one controls, with the labels of the run."""
    owners = [reference(above)] if above else []
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": LABELS, "resourceVersion": "5"}
    return {
        "apiVersion": BY_KIND[kind].api_version,
        "kind": kind,
        "metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": owners, **metadata},
    }


def reference(above: Object) -> Object:
    """A reference to the controller."""
    meta = above["metadata"]
    return {
        "apiVersion": above["apiVersion"], "kind": above["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True,
    }  # fmt: skip


def edited(obj: Object, version: int, **metadata: Any) -> Object:
    """The object with other metadata, written later."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version), **metadata}}


GROUP = made("DaskWorkerGroup", "group", cluster())
WORKER = made("Deployment", "worker", GROUP)
REPLICAS = made("ReplicaSet", "replicas", WORKER)
WORKER_POD = made("Pod", "worker-pod", REPLICAS)
#: From the FlowRun down to a worker's pod.
CHAIN = (run(), lease(), cluster(), GROUP, WORKER, REPLICAS, WORKER_POD)


def filled(*objects: Object) -> Store:
    """A store that holds these."""
    store = Store()
    for obj in objects:
        store.put(BY_KIND[obj["kind"]], obj)
    return store


class TestChain:
    @given(st.permutations(CHAIN))
    def test_object_belongs_to_the_run_in_whichever_order_the_chain_arrives(self, order: list[Object]) -> None:
        store = filled(*order)

        assert store.children(KEY, POD) == [WORKER_POD]
        assert store.children(KEY, REPLICA_SET) == [REPLICAS]
        assert store.run_ids() == [KEY]

    @given(st.permutations(CHAIN[1:]))
    def test_last_link_to_arrive_wakes_the_run(self, order: list[Object]) -> None:
        *earlier, last = order
        store = filled(*earlier)

        assert store.put(BY_KIND[last["kind"]], last) == {KEY}
        assert store.children(KEY, POD) == [WORKER_POD]

    @pytest.mark.parametrize("missing", range(2, 6))
    def test_object_wakes_no_run_while_a_link_is_missing(self, missing: int) -> None:
        links = [obj for number, obj in enumerate(CHAIN) if number != missing]

        assert filled(*links[:-1]).put(POD, WORKER_POD) == set()

    def test_object_stays_with_the_run_when_a_link_is_gone(self) -> None:
        """Garbage collection deletes from the top where the deletion runs in the background."""
        store = filled(*CHAIN)
        store.remove(REPLICA_SET, REPLICAS["metadata"]["uid"])

        changed = edited(WORKER_POD, 6, deletionTimestamp="2026-01-01T00:00:09Z")

        assert store.put(POD, changed) == {KEY}
        assert store.orphans(KEY) == [changed]

    def test_object_leaves_the_run_when_another_controller_takes_it(self) -> None:
        store, stranger = filled(*CHAIN), made("ReplicaSet", "stranger", None)
        taken = edited(WORKER_POD, 6, ownerReferences=[reference(stranger)])

        assert store.put(POD, taken) == {KEY}
        assert store.children(KEY, POD) == []

    def test_objects_below_leave_the_run_with_their_owner(self) -> None:
        store, stranger = filled(*CHAIN), made("Deployment", "stranger", None)
        store.put(REPLICA_SET, edited(REPLICAS, 6, ownerReferences=[reference(stranger)]))

        assert (store.children(KEY, REPLICA_SET), store.children(KEY, POD)) == ([], [])

    def test_objects_with_a_living_owner_are_no_orphans(self) -> None:
        assert filled(*CHAIN).orphans(KEY) == []

    def test_cycle_of_owners_belongs_to_no_run(self) -> None:
        first, second = made("Job", "first", None), made("Job", "second", None)
        store = filled(
            edited(first, 6, ownerReferences=[reference(second)]), edited(second, 6, ownerReferences=[reference(first)])
        )

        assert store.run_ids() == []

    def test_child_run_belongs_to_itself_and_to_its_parent(self) -> None:
        above = RunId(KEY.namespace, "parent", "uid-parent")
        store = filled(child_run(), job())

        assert (store.child_runs(above), store.children(above, JOB)) == ([KEY], [])
        assert store.children(KEY, JOB) == [projected(JOB, job())]


class TestStrangers:
    @pytest.mark.parametrize("kind", sorted({resource.kind for resource in WATCHED} - set(OWNERS)))
    @pytest.mark.parametrize("namespace", [KEY.namespace, "evil"])
    def test_copied_labels_wake_no_run(self, kind: str, namespace: str) -> None:
        store = filled(*CHAIN)

        assert store.put(BY_KIND[kind], made(kind, "stranger", None, namespace)) == set()
        assert store.run_ids() == [KEY]

    @pytest.mark.parametrize("above", [run(), cluster(), REPLICAS], ids=lambda obj: obj["kind"])
    def test_owner_in_another_namespace_does_not_count(self, above: Object) -> None:
        store = filled(*CHAIN)
        woken = store.put(POD, made("Pod", "stranger", above, "evil"))

        assert KEY not in woken
        assert store.children(KEY, POD) == [WORKER_POD]
        assert all(store.owner(key) is None for key in woken)

    @pytest.mark.parametrize("change", [{"controller": False}, {"name": "x"}, {"kind": "Job"}, {"apiVersion": "x/v1"}])
    def test_reference_that_does_not_match_its_owner_does_not_count(self, change: Object) -> None:
        store = filled(*CHAIN)
        store.put(POD, edited(made("Pod", "stranger", None), 6, ownerReferences=[{**reference(REPLICAS), **change}]))

        assert store.children(KEY, POD) == [WORKER_POD]

    @pytest.mark.parametrize("change", [{"namespace": "evil"}, {"name": "another"}, {"uid": "another"}])
    def test_flow_run_is_found_by_namespace_name_and_uid(self, change: dict[str, str]) -> None:
        store = filled(run())

        assert store.owner(KEY) is not None
        assert store.owner(KEY._replace(**change)) is None

    def test_changed_labels_change_nothing(self) -> None:
        store = filled(*CHAIN)
        labels = {**LABELS, names.LABEL_RUN: "typo", names.LABEL_RUN_UID: "another"}

        assert store.put(POD, edited(WORKER_POD, 6, labels=labels)) == {KEY}
        assert store.remove(POD, WORKER_POD["metadata"]["uid"]) == {KEY}
        assert store.children(KEY, POD) == []

    @pytest.mark.parametrize("name", ["late", f"{NAME}-other", "default"])
    def test_worker_group_without_owner_and_with_another_name_is_a_stranger(self, name: str) -> None:
        assert filled(run()).put(BY_KIND["DaskWorkerGroup"], made("DaskWorkerGroup", name, None)) == set()


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube) -> Iterator[Passes]:
    """An operator at work."""
    passes = Passes(kube, Settings())
    running = passes.running()
    loop_runner.run(running.__aenter__())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


async def work(api: FakeApi, passes: Passes, rounds: int = 4) -> None:
    """Let the watches bring everything, and make the passes that follow."""
    for _ in range(rounds):
        passes.watch(api.objects)
        await passes.settle()


def place(api: FakeApi, *objects: Object) -> None:
    """Put objects onto the API server."""
    for obj in objects:
        api.objects.create(BY_KIND[obj["kind"]], obj["metadata"]["namespace"], obj)


class TestLease:
    @pytest.mark.parametrize("made", [cluster(), job(), *access()], ids=lambda obj: obj["kind"])
    def test_child_belongs_to_the_run_when_its_lease_is_gone(self, made: Object) -> None:
        """The name is the proof that a restarted operator has: it contains a hash of the run's UID."""
        store = filled(made)

        assert store.run_ids() == [KEY]
        assert store.orphans(KEY) == store.children(KEY, BY_KIND[made["kind"]])

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "another"},
            {"labels": {}},
            {"labels": {**LABELS, names.LABEL_RUN_UID: "another"}},
            {"ownerReferences": []},
            {"ownerReferences": [reference({**lease(), "kind": "Job"})]},
            {"ownerReferences": [reference({**lease(), "metadata": {"name": "another", "uid": "uid-Lease"}})]},
        ],
    )
    def test_object_without_the_names_of_the_run_belongs_to_no_run(self, change: Object) -> None:
        assert filled(edited(job(), 6, **change)).run_ids() == []

    def test_object_that_a_lease_controls_belongs_to_no_run_under_another_name(self) -> None:
        """Every driver could otherwise give its pods to another run, by the owner of its Lease."""
        strangers = [made("Pod", NAME, lease()), made("Pod", "pod", lease()), made("Job", "job", lease())]
        store = filled(run(), lease(), *strangers)

        assert [store.children(KEY, BY_KIND[obj["kind"]]) for obj in strangers] == [[], [], []]

    @pytest.mark.parametrize("is_first", [True, False])
    @pytest.mark.parametrize("owner", ["none", "another run"])
    def test_children_stay_with_their_run_whatever_the_driver_makes_of_its_lease(
        self, owner: str, is_first: bool
    ) -> None:
        """The right to renew a Lease is a right to change its references. They are orphans, which are deleted."""
        other = {**run(), "metadata": {**run()["metadata"], "name": "other", "uid": "uid-other"}}
        taken = edited(lease(), 6, ownerReferences=[reference(other)] if owner == "another run" else [])
        objects = [run(), other, cluster(), job(), GROUP, WORKER, labelled_pod("driver")]
        store = filled(*([taken, *objects] if is_first else [*objects, taken]))
        theirs = RunId(KEY.namespace, "other", "uid-other")
        is_root = owner == "none" and not is_first  # what it controls is then deleted with it
        roots = ["Lease"] if is_root else ["DaskCluster", "Job"]

        assert [obj["kind"] for obj in store.orphans(KEY)] == roots
        assert (len(store.children(KEY, POD)), len(store.children(KEY, DEPLOYMENT))) == (1, 1)
        assert [store.children(theirs, resource) for resource in (JOB, POD, DEPLOYMENT)] == [[], [], []]

    @pytest.mark.parametrize("is_known", [True, False])
    def test_lease_without_owners_belongs_to_its_run(self, is_known: bool) -> None:
        """A restarted operator has not known it before."""
        store = filled(run(), *([lease()] if is_known else []), cluster())
        store.put(LEASE, edited(lease(), 6, ownerReferences=[]))

        assert [obj["kind"] for obj in store.orphans(KEY)] == ["Lease"]

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "another"},
            {"labels": {}},
            {"labels": {**LABELS, names.LABEL_RUN_UID: "another"}},
            {"ownerReferences": [reference(made("Job", "stranger", None))]},
            {"namespace": "evil"},
        ],
    )
    def test_lease_without_the_name_of_a_run_of_its_namespace_belongs_to_no_run(self, change: Object) -> None:
        copied = edited(lease(), 6, **{"ownerReferences": [], "uid": "uid-copied", **change})
        store = filled(run(), cluster(), copied)

        assert store.run_ids() == [KEY]
        assert store.children(KEY, LEASE) == []

    def test_lease_without_owners_belongs_to_its_run_when_that_is_gone(self) -> None:
        """Its children are the proof."""
        assert [obj["kind"] for obj in filled(job(), edited(lease(), 6, ownerReferences=[])).orphans(KEY)] == ["Lease"]
        assert filled(edited(lease(), 6, ownerReferences=[])).run_ids() == []

    @pytest.mark.parametrize("changed", [("ownerReferences",), ("ownerReferences", "labels")], ids=" and ".join)
    @pytest.mark.parametrize("restarts", [True, False])
    async def test_nothing_is_left_of_a_run_whose_driver_edits_its_lease(
        self, api: FakeApi, kube: Kube, restarts: bool, changed: tuple[str, ...]
    ) -> None:
        """Neither the Lease nor the Secret, which garbage collection deletes with it."""
        place(api, run(), lease(), cluster(), job(), *access())
        api.objects.create(SECRET, KEY.namespace, of_lease(credentials_secret(KEY)))
        async with Passes(kube, Settings()).running() as first:
            await work(api, first, 2)
            api.objects.merge(LEASE, KEY.namespace, NAME, {"metadata": dict.fromkeys(changed)})
            if not restarts:
                await work(api, first)
        async with Passes(kube, Settings()).running() as second:
            await work(api, second)

        found = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]
        assert (found["phase"], found["reason"]) == ("Failed", "ClusterLost")
        assert [obj["kind"] for obj in api.objects.all() if obj["kind"] not in ("Event", "FlowRun")] == []

    def test_child_of_an_earlier_lease_belongs_to_the_run(self) -> None:
        """It is left of the time before a suspension, and garbage collection has not deleted it yet."""
        earlier = edited(job(), 6, ownerReferences=[reference(edited(lease(), 6, uid="uid-earlier"))])
        store = filled(run(), lease(), earlier)

        assert [obj["metadata"]["uid"] for obj in store.orphans(KEY)] == [earlier["metadata"]["uid"]]

    @pytest.mark.parametrize("number", range(3))
    def test_network_policies_belong_to_the_run(self, number: int) -> None:
        policy = edited(of_lease(network_policies(KEY, "parent", "host")[number].body), 6, uid="uid-policy")

        assert filled(policy).run_ids() == [KEY]


class TestOrphans:
    @pytest.mark.parametrize("number", range(3))
    async def test_orphaned_children_are_deleted_when_the_flow_run_is_gone(
        self, api: FakeApi, passes: Passes, number: int
    ) -> None:
        """`kubectl delete --cascade=orphan` takes the references away, before or after the operator looks."""
        place(api, run(), lease(), cluster(), job(), *access(), deployment(), labelled_pod("driver"))
        api.objects.create(SECRET, KEY.namespace, of_lease(credentials_secret(KEY)))
        await work(api, passes, 1)
        api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name, {"propagationPolicy": "Orphan"})
        if number:
            passes.watch(api.objects)
        await work(api, passes)

        assert [obj for obj in api.objects.all() if obj["kind"] != "Event"] == []

    async def test_orphans_that_were_never_seen_owned_stay(self, api: FakeApi, passes: Passes) -> None:
        api.objects.collects_garbage = False
        place(api, *(edited(obj, 5, ownerReferences=[]) for obj in (cluster(), job())))
        await work(api, passes)

        assert len(api.objects.all()) == 2
        assert api.seen("DELETE") == []

    async def test_strangers_with_the_labels_of_a_run_stay_when_it_ends(self, api: FakeApi, passes: Passes) -> None:
        place(api, run(spec(cancel=True)), lease(), cluster(), job(), *access())
        strangers = [
            made("Service", "copied", None),
            made("Service", "copied", None, "evil", uid="uid-evil"),
            made("Pod", "pod", None),
        ]
        place(api, *strangers)
        await work(api, passes)

        assert api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]["phase"] == "Cancelled"
        left = [obj["metadata"]["uid"] for obj in api.objects.all() if obj["kind"] not in ("Event", "FlowRun")]
        assert left == [stranger["metadata"]["uid"] for stranger in strangers]

    @pytest.mark.parametrize("owned", [False, True])
    async def test_service_in_another_namespace_changes_no_run(self, api: FakeApi, passes: Passes, owned: bool) -> None:
        api.objects.collects_garbage = False
        place(api, run())
        await work(api, passes)
        before = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)
        api.requests.clear()
        place(api, made("Service", "service", run() if owned else None, "evil"))
        await work(api, passes)

        assert api.objects.get(FLOW_RUN, KEY.namespace, KEY.name) == before
        # A run is read now and then in any case.
        assert {request.namespace for request in api.requests if request.method != "GET"} <= {"evil"}
        assert api.seen("POST") == []

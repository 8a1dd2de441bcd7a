"""The ledger counts what the API server reports, by UID."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.rig.kinds import FLOW_RUN, JOB, OWNERS, POD, SHARED_CLUSTER, Kind
from tests.support.rig.ledger import Entry, View


def body(name: str, uid: str, component: str = "", **more: Any) -> dict[str, Any]:
    labels = {names.LABEL_COMPONENT: component} if component else {}
    return {"metadata": {"name": name, "uid": uid, "labels": labels}, **more}


def view() -> View:
    return View("n", threading.RLock())


def always(_entry: Entry) -> bool:
    return True


def test_object_is_counted_once_however_often_it_changes() -> None:
    seen = view()
    for _ in range(3):
        seen.take(POD.name, body("pod", "1", "worker"), is_gone=False)

    assert seen.created(always) == {"Pod worker": 1}
    assert seen.deleted(always) == {}


def test_object_of_the_same_name_is_another_one() -> None:
    seen = view()
    seen.take(JOB.name, body("job", "1"), is_gone=False)
    seen.take(JOB.name, body("job", "1"), is_gone=True)
    seen.take(JOB.name, body("job", "2"), is_gone=False)

    assert seen.created(always) == {"Job": 2}
    assert seen.deleted(always) == {"Job": 1}
    assert [entry.uid for entry in seen.entries()] == ["2"]


def test_late_news_of_a_deleted_object_do_not_bring_it_back() -> None:
    seen = view()
    seen.take(JOB.name, body("job", "1"), is_gone=True)
    seen.take(JOB.name, body("job", "1"), is_gone=False)

    assert seen.entries() == []


@pytest.mark.parametrize("kind", OWNERS, ids=lambda kind: kind.name)
def test_phases_of_an_owner_are_kept_in_order(kind: Kind) -> None:
    seen = view()
    for phase in ("Starting", "Starting", "Running", "Stopping"):
        seen.take(kind.name, body("owner", "1", status={"phase": phase}), is_gone=False)

    assert seen.phases("owner", kind) == ["Starting", "Running", "Stopping"]


def test_run_and_shared_cluster_of_one_name_are_kept_apart() -> None:
    seen = view()
    seen.take(FLOW_RUN.name, body("namesake", "1", status={"phase": "Running"}), is_gone=False)
    seen.take(SHARED_CLUSTER.name, body("namesake", "2", status={"phase": "Ready"}), is_gone=False)

    assert (seen.status("namesake"), seen.status("namesake", SHARED_CLUSTER)) == (
        {"phase": "Running"},
        {"phase": "Ready"},
    )
    assert (seen.phases("namesake"), seen.phases("namesake", SHARED_CLUSTER)) == (["Running"], ["Ready"])


def test_objects_that_kubernetes_creates_in_each_namespace_are_not_counted() -> None:
    seen = view()
    seen.take("ServiceAccount", body("default", "1"), is_gone=False)

    assert seen.has_given("ServiceAccount")
    assert seen.created(always) == {}


def stored(uid: str, version: int, *, owner: str = "", doomed: bool = False, name: str = "") -> dict[str, Any]:
    """An object as the API server reports it."""
    made = body(name or f"object-{uid}", uid)
    made["metadata"] |= {"resourceVersion": str(version), "ownerReferences": [{"uid": owner}] if owner else []}
    made["metadata"] |= {"deletionTimestamp": "now"} if doomed else {}
    return made


@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("version", [5, 15])
def test_object_is_counted_when_its_owner_was_not_being_deleted_at_its_creation(version: int, is_gone: bool) -> None:
    """The same holds for what belongs to the object."""
    seen = view()
    seen.take("DaskWorkerGroup", stored("1", 1), is_gone=False)
    seen.take("Deployment", stored("2", version, owner="1"), is_gone=False)
    seen.take(POD.name, stored("3", version + 1, owner="2"), is_gone=False)
    seen.take("DaskWorkerGroup", stored("1", 10, doomed=not is_gone), is_gone=is_gone)

    assert seen.created(always) == {"DaskWorkerGroup": 1} | ({"Deployment": 1, "Pod": 1} if version == 5 else {})


def test_history_has_each_report_of_an_object() -> None:
    seen = view()
    seen.take(JOB.name, stored("1", 1), is_gone=False)
    seen.take(JOB.name, stored("1", 2, doomed=True), is_gone=False)
    seen.take(JOB.name, stored("1", 3, doomed=True), is_gone=True)

    assert [line.partition(" ")[2] for line in seen.history()] == [
        "new Job object-1 1",
        "changed Job object-1 2 terminating, finalizers: none",
        "gone Job object-1 3 terminating, finalizers: none",
    ]


@pytest.mark.parametrize(
    ("owner", "made"),
    [("ReplicaSet", POD.name), ("Deployment", "ReplicaSet"), ("RayCluster", "Service"), ("RayCluster", "RoleBinding")],
)
def test_object_that_its_controller_makes_too_late_is_counted_as_late(owner: str, made: str) -> None:
    seen = view()
    seen.take(owner, stored("1", 10, doomed=True), is_gone=False)
    seen.take(made, stored("2", 15, owner="1"), is_gone=False)

    assert [entry.uid for entry in seen.late()] == ["2"]
    assert seen.created(always) == {owner: 1}


@pytest.mark.parametrize(
    ("owner", "made"),
    [
        (names.KIND, "Job"),
        (names.KIND, "Lease"),
        (names.KIND, "DaskCluster"),
        ("Lease", "Secret"),
        ("Job", POD.name),
        ("RayCluster", POD.name),
        ("DaskWorkerGroup", POD.name),
    ],
)
def test_other_object_of_an_owner_that_is_being_deleted_is_counted(owner: str, made: str) -> None:
    """The operator creates nothing of a run that its user has deleted."""
    seen = view()
    seen.take(owner, stored("1", 10, doomed=True), is_gone=False)
    seen.take(made, stored("2", 15, owner="1"), is_gone=False)

    assert seen.late() == []
    assert seen.created(always) == Counter([owner, made])


@pytest.mark.parametrize("record", [kind.name for kind in OWNERS])
@pytest.mark.parametrize("kind", ["Role", "Job"])
def test_second_object_is_late_when_the_user_deletes_the_record_at_that_moment(record: str, kind: str) -> None:
    seen = view()
    seen.take(record, stored("1", 10), is_gone=False)
    seen.take("Lease", stored("2", 11, owner="1"), is_gone=False)
    seen.take(kind, stored("3", 12, owner="2"), is_gone=False)
    seen.take(record, stored("1", 13, doomed=True), is_gone=True)
    seen.take("Lease", stored("2", 14, owner="1", doomed=True), is_gone=True)
    seen.take(kind, stored("3", 15, owner="2", doomed=True), is_gone=True)
    for number in (16, 17):
        seen.take(kind, stored(str(number), number, owner="2", name="object-3"), is_gone=False)

    assert [entry.uid for entry in seen.late()] == ["16"], "a third one is an error"


def test_second_object_is_counted_when_the_record_exists() -> None:
    seen = view()
    seen.take(names.KIND, stored("1", 10), is_gone=False)
    seen.take("Lease", stored("2", 11, owner="1"), is_gone=False)
    seen.take("Role", stored("3", 12, owner="2"), is_gone=False)
    seen.take("Lease", stored("2", 14, owner="1", doomed=True), is_gone=True)
    seen.take("Role", stored("3", 15, owner="2", doomed=True), is_gone=True)
    seen.take("Role", stored("4", 16, owner="2", name="object-3"), is_gone=False)

    assert seen.late() == []
    assert seen.created(always)["Role"] == 2


def test_object_that_is_gone_is_forgotten_on_request() -> None:
    seen = view()
    seen.take(JOB.name, stored("1", 1), is_gone=True)
    seen.take(JOB.name, stored("2", 2), is_gone=False)
    seen.forget_gone()

    assert seen.created(always) == {"Job": 1}
    assert seen.history() == []

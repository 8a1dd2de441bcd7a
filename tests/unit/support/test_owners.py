"""A request of the operator is attributed to the run or shared cluster whose pass makes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.rig.kinds import FLOW_RUN, JOB, LEASE, SHARED_CLUSTER
from tests.support.rig.owners import Owner, OwnerBook

RUN, SHARED = Owner(names.KIND, "1"), Owner(names.SHARED_KIND, "2")
NAME = "subject"
EVENTS = "/api/v1/namespaces/n/events"


def status(owner: Owner) -> dict[str, Any]:
    return {"kind": owner.kind, "metadata": {"name": NAME, "uid": owner.uid}, "status": {}}


def child(owner: Owner) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"labels": names.child_labels(NAME, owner.uid, "driver", owner.kind)}}


def event(owner: Owner) -> dict[str, Any]:
    return {"kind": "Event", "involvedObject": {"kind": owner.kind, "name": NAME, "uid": owner.uid}}


@pytest.mark.parametrize("owner", [RUN, SHARED])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (FLOW_RUN.path("n", NAME, "status"), status),
        (JOB.path("n"), child),
        (EVENTS, event),
    ],
)
def test_owner_is_the_one_that_the_body_names(owner: Owner, path: str, body: Any) -> None:
    assert OwnerBook().owner_of(path, json.dumps(body(owner)).encode()) == owner


@pytest.mark.parametrize("suffix", ["", "-driver", "-default-worker-0"])
@pytest.mark.parametrize("body", [b"", b'{"preconditions": {"uid": "7"}}', b'[{"op": "test"}]'])
def test_owner_of_a_child_is_found_by_its_name_when_a_status_of_the_owner_was_written(suffix: str, body: bytes) -> None:
    book = OwnerBook()
    for owner in (RUN, SHARED):
        book.owner_of(FLOW_RUN.path("n", NAME, "status"), json.dumps(status(owner)).encode())

    for owner in (RUN, SHARED):
        path = LEASE.path("n", names.child_name(NAME, owner.uid) + suffix)
        assert book.owner_of(path, body) == owner


@pytest.mark.parametrize(("kind", "owner"), [(FLOW_RUN, RUN), (SHARED_CLUSTER, SHARED)])
def test_owner_of_a_record_that_is_deleted_is_the_record(kind: Any, owner: Owner) -> None:
    body = {"preconditions": {"uid": owner.uid}}

    assert OwnerBook().owner_of(kind.path("n", NAME), json.dumps(body).encode()) == owner


def test_owner_of_an_unknown_object_is_not_known() -> None:
    assert OwnerBook().owner_of(LEASE.path("n", "other"), b"") is None

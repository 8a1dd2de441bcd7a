"""The operator's memory of the world, and the queue of what is due."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcluster_operator.informer.store import Store
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    DEPLOYMENT,
    FLOW_RUN,
    JOB,
    REPLICA_SET,
    SERVICE,
    Resource,
)
from flowcluster_operator.workqueue import Queue
from tests.support.makers import KEY, cluster, deployment, job, run


def versioned(obj: dict[str, Any], version: int) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def test_older_event_does_not_replace_a_newer_answer() -> None:
    """A watch event that was in flight during a write does not restore the old object."""
    store = Store()
    store.put(FLOW_RUN, versioned(run(status={"phase": "Running"}), 7))
    store.put(FLOW_RUN, versioned(run(status={"phase": "Starting"}), 6))

    known = store.owner(KEY)
    assert known is not None
    assert known["status"]["phase"] == "Running"


def test_answer_does_not_bring_back_an_object_whose_deletion_a_watch_reported() -> None:
    """The answer to a DELETE shows the object that a finalizer holds, and can arrive after the watch event."""
    store = Store()
    store.put(JOB, versioned(job(), 5))
    store.remove(JOB, job()["metadata"]["uid"], 8, is_gone=True)
    store.put(JOB, versioned(job(), 7))

    assert store.children(KEY, JOB) == []


def test_listing_removes_objects_whose_deletion_the_watch_missed() -> None:
    """An object that a full listing does not have is gone, and its run gets a pass."""
    store = Store()
    store.put(JOB, job())

    assert store.retain(JOB, set(), 100) == {KEY}
    assert store.children(KEY, JOB) == []


def test_listing_does_not_remove_objects_that_were_written_after_it() -> None:
    """An object that is newer than the listing stays."""
    store = Store()
    store.put(JOB, versioned(job(), 101))

    assert store.retain(JOB, set(), 100) == set()
    assert len(store.children(KEY, JOB)) == 1


@pytest.mark.parametrize("resource", [DEPLOYMENT, SERVICE, REPLICA_SET], ids=lambda item: item.kind)
def test_store_keeps_no_spec_that_nothing_reads(resource: Resource) -> None:
    made = {**deployment(), "kind": resource.kind, "spec": {"template": {}}}
    store = Store()
    store.put(DASK_CLUSTER, cluster())
    store.put(resource, made)
    (known,) = store.children(KEY, resource)

    assert ("spec" in known, "spec" in made) == (False, True)


@pytest.mark.parametrize("resource", [FLOW_RUN, JOB], ids=lambda item: item.kind)
def test_store_keeps_no_managed_fields(resource: Resource) -> None:
    made = run() if resource is FLOW_RUN else job()
    managed = {**made, "metadata": {**made["metadata"], "managedFields": [{"manager": "x"}]}}
    store = Store()
    store.put(resource, managed)

    known = store.owner(KEY) if resource is FLOW_RUN else store.children(KEY, JOB)[0]
    assert known is not None
    assert "managedFields" not in known["metadata"]


def test_key_that_is_woken_during_its_pass_is_due_again() -> None:
    """No wake-up is lost, and no key has two passes at the same time."""

    async def story() -> list[str]:
        queue: Queue[str] = Queue()
        queue.add("a")
        queue.add("a")
        taken = [await queue.take()]
        queue.add("a")
        queue.add("b")
        taken.append(await queue.take())
        queue.done("a")
        taken.append(await queue.take())
        return taken

    assert asyncio.run(story()) == ["a", "b", "a"]

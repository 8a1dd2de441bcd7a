"""Full listings: what they correct in the store, and which runs they make due."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator import kube as kube_module
from flowcluster_operator.informer import resync as resync_module
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.informer.resync import Resync
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import FLOW_RUN, JOB, OWNERS, POD, RAY_CLUSTER, WATCHED, Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.workqueue import Queue
from tests.support.fake_api import Answer, Drop, FakeApi, Hold, StaleList
from tests.support.makers import KEY, job, run

NAME = names.child_name(KEY.name, KEY.uid)


class CollectingQueue(Queue[RunId]):
    """A queue that shows what is due.

    Attributes:
        due: the runs, in the order in which they became due.
    """

    def __init__(self) -> None:
        super().__init__()
        self.due: list[RunId] = []

    def add(self, key: RunId) -> None:
        """See `Queue.add`."""
        self.due.append(key)


class Rig:
    """A resync, its store and the API server."""

    def __init__(self, api: FakeApi, kube: Kube, settings: Settings) -> None:
        self.api, self.store, self.queue = api, Store(), CollectingQueue()
        self.resync = Resync(settings, self.store, kube, self.queue)
        api.objects.collects_garbage = False  # children are here without their run

    async def refresh(self) -> list[RunId]:
        """List everything; the runs that become due."""
        self.queue.due.clear()
        await self.resync.once()
        return self.queue.due


@pytest.fixture
def rig(api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Nothing known and nothing there; after a failed listing, the next one follows immediately."""
    monkeypatch.setattr(resync_module, "_RETRY_SECONDS", 0)
    return Rig(api, kube, Settings(resync_seconds=0))


def other_run(number: int) -> Object:
    """A run besides `KEY`'s."""
    body = run()
    return {**body, "metadata": {**body["metadata"], "name": f"other-{number}", "uid": f"uid-other-{number}"}}


async def test_resync_fills_the_store(rig: Rig) -> None:
    made = rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    child = rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.refresh()

    assert rig.store.owner(KEY) == made
    assert rig.store.children(KEY, JOB) == [projected(JOB, child)]


async def test_resync_lists_every_watched_kind(rig: Rig) -> None:
    await rig.refresh()

    assert [request.resource for request in rig.api.requests] == list(WATCHED)


async def test_resync_lists_all_owners_and_of_other_kinds_only_their_children(rig: Rig) -> None:
    await rig.refresh()
    selectors = {request.resource: request.query.get("labelSelector") for request in rig.api.requests}

    assert {selectors.pop(resource) for resource in OWNERS.values()} == {None}
    assert set(selectors.values()) == {f"{names.LABEL_RUN_UID},!{names.LABEL_OPERATOR_CLASS}"}


@pytest.mark.parametrize(("namespace", "listed"), [("", None), ("team", "team")])
async def test_resync_lists_the_namespace_that_the_operator_serves(
    api: FakeApi, kube: Kube, namespace: str, listed: str | None
) -> None:
    await Rig(api, kube, Settings(namespace=namespace)).refresh()

    assert {request.namespace for request in api.requests} == {listed}


async def test_resync_makes_all_runs_due_at_the_start(rig: Rig) -> None:
    """One of which only a child is left, too."""
    rig.api.objects.create(FLOW_RUN, KEY.namespace, other_run(1))
    rig.api.objects.create(JOB, KEY.namespace, job())

    assert sorted(key.name for key in await rig.refresh()) == [KEY.name, "other-1"]


async def test_resync_makes_a_run_due_at_the_start_when_a_watch_was_faster(rig: Rig) -> None:
    rig.store.put(FLOW_RUN, rig.api.objects.create(FLOW_RUN, KEY.namespace, run()))

    assert await rig.refresh() == [KEY]


async def test_resync_makes_only_changed_runs_due_afterwards(rig: Rig) -> None:
    for number in range(3):
        rig.api.objects.create(FLOW_RUN, KEY.namespace, other_run(number))
    await rig.refresh()
    rig.api.objects.merge(FLOW_RUN, KEY.namespace, "other-1", {"spec": {"cancel": True}})

    assert [key.name for key in await rig.refresh()] == ["other-1"]


async def test_resync_makes_no_run_due_when_nothing_changed(rig: Rig) -> None:
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    await rig.refresh()

    assert await rig.refresh() == []


async def test_resync_makes_the_run_due_when_a_child_is_gone(rig: Rig) -> None:
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.refresh()
    rig.api.objects.delete(JOB, KEY.namespace, NAME)

    assert await rig.refresh() == [KEY]
    assert rig.store.children(KEY, JOB) == []


async def test_resync_keeps_what_is_newer_than_the_list(rig: Rig) -> None:
    """An answer to a write of the operator can come before the list that was made earlier."""
    snapshot = rig.api.objects.snapshot()
    made = rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    rig.store.put(FLOW_RUN, made)
    rig.api.inject(StaleList(snapshot), "GET", FLOW_RUN)
    await rig.refresh()

    assert rig.store.owner(KEY) == made


async def test_resync_does_not_bring_back_an_older_state(rig: Rig) -> None:
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    snapshot = rig.api.objects.snapshot()
    newer = rig.api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})
    rig.store.put(FLOW_RUN, newer)
    rig.api.inject(StaleList(snapshot), "GET", FLOW_RUN)
    await rig.refresh()

    assert rig.store.owner(KEY) == newer


async def test_resync_stores_complete_objects(rig: Rig) -> None:
    """In lists of built-in kinds, the items name neither kind nor version."""
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.refresh()
    (known,) = rig.store.children(KEY, JOB)

    assert (known["kind"], known["apiVersion"]) == ("Job", "batch/v1")


async def test_resync_goes_on_when_a_kind_is_not_installed(rig: Rig) -> None:
    rig.api.installed.discard(RAY_CLUSTER)
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())

    assert await rig.refresh() == [KEY]


@pytest.mark.parametrize("fault", [Answer(403), Answer(429), Answer(500), Drop(), Drop(after_write=True)], ids=str)
async def test_resync_lists_a_kind_again_when_that_failed(rig: Rig, fault: Any) -> None:
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    rig.api.inject(fault, "GET", POD, times=3)
    rig.api.inject(fault, "GET", FLOW_RUN, times=3)

    assert await rig.refresh() == [KEY]


async def test_resync_logs_why_a_kind_cannot_be_listed(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.api.inject(Answer(403, "forbidden by a role"), "GET", POD)
    await rig.refresh()

    assert "cannot list pods: forbidden by a role" in caplog.text


async def test_resync_records_the_end_of_the_last_listing(rig: Rig) -> None:
    """The liveness probe shows how long ago that was."""
    held = Hold()
    rig.api.inject(held, "GET", POD)
    listing = asyncio.create_task(rig.refresh())
    await held.arrived.wait()
    before = rig.resync.last
    held.released.set()
    await listing

    assert (before, rig.resync.last is None) == (None, False)


async def test_resync_lists_again_and_again(rig: Rig) -> None:
    running = asyncio.create_task(rig.resync.run())
    while len(rig.api.seen("GET", POD)) < 3:
        await asyncio.wait({running}, timeout=0.001)
    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()


async def test_resync_lists_in_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "PAGE", 2)
    for number in range(5):
        rig.api.objects.create(FLOW_RUN, KEY.namespace, other_run(number))

    assert len(await rig.refresh()) == 5
    assert len(rig.api.seen("GET", FLOW_RUN)) == 3


async def test_resync_begins_again_when_the_version_of_its_pages_expired(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_module, "PAGE", 2)
    for number in range(3):
        rig.api.objects.create(FLOW_RUN, KEY.namespace, other_run(number))
    rig.api.inject(Answer(410), "GET", FLOW_RUN, skip=1)

    assert len(await rig.refresh()) == 3


async def test_resync_does_not_bring_back_what_a_watch_reported_as_deleted(rig: Rig) -> None:
    """The listing was made before the deletion, and arrives after it."""
    made = rig.api.objects.create(JOB, KEY.namespace, job())
    rig.store.put(JOB, made)
    snapshot = rig.api.objects.snapshot()
    rig.api.objects.delete(JOB, KEY.namespace, NAME)
    rig.store.remove(JOB, made["metadata"]["uid"], rig.api.objects.version)
    rig.api.inject(StaleList(snapshot), "GET", JOB)
    await rig.refresh()

    assert rig.store.children(KEY, JOB) == []


async def test_resync_brings_back_what_got_its_labels_again(rig: Rig) -> None:
    """A watch by labels reports an object as deleted when its labels are edited."""
    made = rig.api.objects.create(JOB, KEY.namespace, job())
    rig.store.put(JOB, made)
    rig.store.remove(JOB, made["metadata"]["uid"], rig.api.objects.version)
    rig.api.objects.merge(JOB, KEY.namespace, NAME, {"metadata": {"annotations": {"a": "b"}}})
    await rig.refresh()

    assert len(rig.store.children(KEY, JOB)) == 1

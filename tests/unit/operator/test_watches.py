"""Watches of runs and of their children: what they report, and how they go on after they broke."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator.handlers import Operator
from flowcluster_operator.informer import resync as resync_module
from flowcluster_operator.informer import watches as watches_module
from flowcluster_operator.informer.resync import Resync
from flowcluster_operator.informer.watches import Watches
from flowcluster_operator.kube import Kube
from flowcluster_operator.reconcile.loop import Reconciler
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, JOB, OWNERS, POD, RAY_CLUSTER, WATCHED
from flowcluster_operator.settings import Settings
from tests.support.fake_api import Answer, Drop, FakeApi
from tests.support.makers import KEY, job, run

NAME = names.child_name(KEY.name, KEY.uid)
GONE = Answer(200, body=json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}) + "\n")


class Rig:
    """An operator without passes: its watches, its store, and what is due."""

    def __init__(self, api: FakeApi, kube: Kube, settings: Settings) -> None:
        self.api = api
        api.objects.collects_garbage = False  # children are here without their run
        self._operator = Operator(settings)
        self._operator.reconciler = Reconciler(settings, self._operator.store, kube)
        self.store, self.queue = self._operator.store, self._operator.reconciler.queue
        self.resync = Resync(settings, self.store, kube, self.queue)
        self._watches = Watches(settings, kube, self.resync, self.queue, self._operator.seen)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """List everything and begin to watch."""
        await self.resync.once()
        self._running = asyncio.create_task(self._watches.run())
        await self.until(lambda: self.watches() >= len(WATCHED))

    async def stop(self) -> None:
        """End the watches."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition. The test has a deadline."""
        assert self._running is not None
        while not holds():
            assert not self._running.done(), "the watches have ended"
            await asyncio.wait({self._running}, timeout=0.005)

    def watches(self, resource: Any = None) -> int:
        """How many watches were begun, of one kind or of all."""
        return sum(
            bool(request.query.get("watch")) and resource in (None, request.resource) for request in self.api.requests
        )

    def jobs(self) -> list[str]:
        """Names of the run's Jobs that are known."""
        return [obj["metadata"]["name"] for obj in self.store.children(KEY, JOB)]


@pytest.fixture
def operator_class() -> str:
    """That of the operator; empty for none."""
    return ""


@pytest.fixture
def rig(
    loop_runner: asyncio.Runner, api: FakeApi, kube: Kube, operator_class: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """Nothing known and nothing there; watches that break begin again immediately."""
    for name in ("_RETRY_SECONDS", "_ABSENT_SECONDS", "_PAUSE_SECONDS"):
        monkeypatch.setattr(watches_module, name, 0.001)
    monkeypatch.setattr(resync_module, "_RETRY_SECONDS", 0.001)
    rig = Rig(api, kube, Settings(operator_class=operator_class))
    yield rig
    loop_runner.run(rig.stop())


async def test_watches_report_a_child_that_is_created(rig: Rig) -> None:
    await rig.start()
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.until(lambda: rig.jobs() == [NAME])

    assert await rig.queue.take() == KEY


async def test_watches_report_a_child_that_is_deleted(rig: Rig) -> None:
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.start()
    rig.api.objects.delete(JOB, KEY.namespace, NAME)
    await rig.until(lambda: rig.jobs() == [])

    assert rig.watches(JOB) == 1


@pytest.mark.parametrize(
    ("operator_class", "of_class"),
    [("", f"!{names.LABEL_OPERATOR_CLASS}"), ("blue", f"{names.LABEL_OPERATOR_CLASS}=blue")],
)
async def test_watches_and_listings_select_the_children_of_runs_of_the_operators_class(rig: Rig, of_class: str) -> None:
    await rig.start()
    labels = {
        request.query.get("labelSelector")
        for request in rig.api.requests
        if request.method == "GET" and request.resource.kind not in OWNERS
    }

    assert labels == {f"{names.LABEL_RUN_UID},{of_class}"}


async def test_watches_are_of_flow_runs_and_of_all_children(rig: Rig) -> None:
    await rig.start()
    kinds = {request.resource for request in rig.api.requests if request.query.get("watch")}

    assert kinds == set(WATCHED)


async def test_watches_report_a_run_that_is_deleted_between_the_listing_and_the_watch(rig: Rig) -> None:
    """A run that stayed known would get its children again, as often as garbage collection deletes them."""
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    await rig.resync.once()
    assert rig.store.owner(KEY) is not None
    rig.api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
    rig._running = asyncio.create_task(rig._watches.run())
    await rig.until(lambda: rig.store.owner(KEY) is None)


@pytest.mark.parametrize("is_behind", [False, True])
async def test_watches_report_a_run_that_is_deleted_while_its_watch_is_broken(rig: Rig, is_behind: bool) -> None:
    rig.api.objects.create(FLOW_RUN, KEY.namespace, run())
    await rig.start()
    rig.api.inject(Answer(410) if is_behind else Drop(), "GET", FLOW_RUN)
    rig.api.objects._changes.clear()
    rig.api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
    if is_behind:
        rig.api.objects._changes.clear()
    rig.api.end_watches()
    await rig.until(lambda: rig.store.owner(KEY) is None)


async def test_watches_request_metadata_only_where_nothing_else_is_read(rig: Rig) -> None:
    await rig.start()
    partial = {
        request.resource.kind
        for request in rig.api.requests
        if "PartialObjectMetadata" in request.headers.get("Accept", "")
    }

    assert partial == {"NetworkPolicy", "ReplicaSet", "Service"}


async def test_watches_go_on_where_they_ended(rig: Rig) -> None:
    """Nothing that changes in between is missed, and nothing is listed again."""
    await rig.start()
    listed = len(rig.api.seen("GET", JOB)) - rig.watches(JOB)
    rig.api.end_watches()
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.until(lambda: rig.jobs() == [NAME])

    assert len(rig.api.seen("GET", JOB)) - rig.watches(JOB) == listed


@pytest.mark.parametrize("fault", [Answer(500), Answer(429), Answer(403), Drop(), GONE, Answer(410)], ids=repr)
async def test_watches_go_on_after_a_fault(rig: Rig, fault: Any) -> None:
    await rig.start()
    rig.api.inject(fault, "GET", JOB, times=2)
    rig.api.end_watches()
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.until(lambda: rig.jobs() == [NAME])

    assert await rig.queue.take() == KEY


async def test_watches_forget_what_was_deleted_while_they_were_too_far_behind(rig: Rig) -> None:
    rig.api.objects.create(JOB, KEY.namespace, job())
    await rig.start()
    rig.api.inject(Answer(410), "GET", JOB)
    rig.api.objects._changes.clear()
    rig.api.objects.delete(JOB, KEY.namespace, NAME)
    rig.api.objects._changes.clear()
    rig.api.end_watches()
    await rig.until(lambda: rig.jobs() == [])

    assert len(rig.api.seen("GET", JOB)) - rig.watches(JOB) == 2


@pytest.mark.parametrize("was_known", [True, False])
@pytest.mark.parametrize("event", ["ADDED", "MODIFIED"])
async def test_late_watch_event_does_not_bring_back_an_object_that_a_list_lacked(
    rig: Rig, event: str, was_known: bool
) -> None:
    """A watch goes on where it was interrupted, and reports what has happened since, long after a list was read.

    Of two Leases of one run, an operator could take the former one, and end what the present one controls.
    """
    made = rig.api.objects.create(JOB, KEY.namespace, job())
    if was_known:
        rig.store.put(JOB, made)
    dying = rig.api.objects.merge(JOB, KEY.namespace, NAME, {"metadata": {"annotations": {"a": "b"}}})
    rig.api.objects.delete(JOB, KEY.namespace, NAME)
    await rig.resync.once()
    rig._operator.seen(JOB, event, dying)

    assert rig.jobs() == []


async def test_watch_event_brings_back_an_object_that_has_its_labels_again(rig: Rig) -> None:
    """A list by labels lacks it in between."""
    made = rig.api.objects.create(JOB, KEY.namespace, job())
    labels = made["metadata"]["labels"]
    rig.api.objects.merge(JOB, KEY.namespace, NAME, {"metadata": {"labels": dict.fromkeys(labels)}})
    await rig.resync.once()
    assert rig.jobs() == []
    rig._operator.seen(JOB, "ADDED", rig.api.objects.merge(JOB, KEY.namespace, NAME, {"metadata": {"labels": labels}}))

    assert rig.jobs() == [NAME]


async def test_watches_begin_when_a_kind_is_installed(rig: Rig) -> None:
    rig.api.installed -= {DASK_CLUSTER, RAY_CLUSTER}
    await rig.resync.once()
    rig._running = asyncio.create_task(rig._watches.run())
    await rig.until(lambda: rig.watches() >= len(WATCHED) - 2)
    rig.api.installed |= {DASK_CLUSTER, RAY_CLUSTER}
    await rig.until(lambda: rig.watches(DASK_CLUSTER) > 0)

    assert rig.watches(RAY_CLUSTER) <= 1


async def test_watches_log_why_a_kind_cannot_be_watched(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.start()
    rig.api.inject(Answer(403, "forbidden by a role"), "GET", POD)
    with caplog.at_level(logging.WARNING):
        rig.api.end_watches()
        await rig.until(lambda: rig.watches(POD) >= 3)

    assert "cannot watch pods: forbidden by a role" in caplog.text


async def test_watch_event_of_a_parent_makes_its_child_runs_due(rig: Rig) -> None:
    owner = {**names.reference(KEY.name, KEY.uid), "controller": True}
    child = run()
    child["metadata"] |= {"name": "child", "uid": "uid-child", "ownerReferences": [owner]}
    rig.store.put(FLOW_RUN, child)
    rig._operator.seen(FLOW_RUN, "ADDED", run())

    assert {(await rig.queue.take()).name for _ in range(2)} == {KEY.name, "child"}


@pytest.mark.parametrize(
    ("metadata", "is_gone"),
    [
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({}, False),
        ({"deletionTimestamp": "x", "finalizers": ["a"]}, False),
    ],
    ids=["deleted", "label removed", "label removed while it is being deleted"],
)
def test_watch_event_proves_the_end_of_a_root_only_when_it_was_deleted(
    rig: Rig, metadata: dict[str, Any], is_gone: bool
) -> None:
    made = job()
    rig.store.put(FLOW_RUN, run())
    rig.store.put(JOB, made)
    rig._operator.seen(JOB, "DELETED", {**made, "metadata": {**made["metadata"], **metadata}})

    assert (rig.jobs(), rig.store.is_gone(KEY, JOB)) == ([], is_gone)

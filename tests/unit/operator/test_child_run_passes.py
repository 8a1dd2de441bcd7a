"""A request for a child run, from the Lease of its parent to the FlowRun, in passes on a fake API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster_api import child_runs
from flowcluster_operator.desired.metadata import owner_reference
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, LEASE, Object
from tests.support.fake_api import Answer, Drop, FakeApi
from tests.support.makers import KEY, SETTINGS, run, spec
from tests.support.passes import Passes

PART: dict[str, Any] = {
    "cluster": {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}},
    "leaseDurationSeconds": 60,
}


@pytest.fixture
def passes(loop_runner: asyncio.Runner, api: FakeApi, kube: Kube) -> Iterator[Passes]:
    """An operator that has started a run."""
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    passes = Passes(kube, SETTINGS)
    running = passes.running()
    loop_runner.run(running.__aenter__())
    loop_runner.run(passes.make())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


def lease(api: FakeApi) -> Object:
    (found,) = (item for item in api.objects.all(LEASE) if item["metadata"]["ownerReferences"][0]["uid"] == KEY.uid)
    return found


def request(api: FakeApi, patch: Object) -> None:
    """Patch the Lease of the parent as its driver does."""
    before = lease(api)
    api.objects.merge(LEASE, KEY.namespace, before["metadata"]["name"], patch)


def child(api: FakeApi, name: str = "part") -> Object | None:
    found = (item for item in api.objects.all(FLOW_RUN) if item["metadata"]["name"] == name)
    return next(found, None)


async def settle(api: FakeApi, passes: Passes) -> None:
    passes.watch(api.objects)
    await passes.settle()


async def test_child_run_exists_and_starts_after_its_request(api: FakeApi, passes: Passes) -> None:
    request(api, child_runs.create("part", PART))
    await settle(api, passes)

    made = child(api)
    assert made is not None
    assert made["metadata"]["ownerReferences"] == [owner_reference(KEY)]
    assert child_runs.read(lease(api)) == {}
    await passes.make(RunId(KEY.namespace, "part", made["metadata"]["uid"]))
    started = child(api)
    assert started is not None
    assert started["status"]["phase"] == "Starting"


async def test_child_run_is_created_once_when_the_answer_is_lost(api: FakeApi, passes: Passes) -> None:
    request(api, child_runs.create("part", PART))
    api.inject(Drop(after_write=True), "POST")
    await settle(api, passes)
    for _ in range(3):
        await passes.make()

    assert child(api) is not None
    assert child_runs.read(lease(api)) == {}


async def test_name_of_another_flow_run_is_refused(api: FakeApi, passes: Passes) -> None:
    other = run(spec(flow=False))
    other["metadata"] |= {"name": "part", "uid": "uid-other"}
    api.objects.create(FLOW_RUN, KEY.namespace, other)
    request(api, child_runs.create("part", PART))
    await settle(api, passes)

    refused = child_runs.read(lease(api))["part"].refused
    assert refused is not None
    assert "the run does not own it" in refused


async def test_request_is_refused_while_another_child_of_the_run_is_refused(api: FakeApi, kube: Kube) -> None:
    """One refusal must not be forgotten over the other: the passes would then go on without an end."""
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    other = run(spec(flow=False))
    other["metadata"] |= {"name": "part", "uid": "uid-other"}
    api.objects.create(FLOW_RUN, KEY.namespace, other)
    api.inject(Answer(403, "exceeded quota"), "POST", DASK_CLUSTER, times=None)
    async with Passes(kube, SETTINGS).running() as passes:
        await passes.make()
        request(api, child_runs.create("part", PART))
        await settle(api, passes)

    assert child_runs.read(lease(api))["part"].refused is not None


async def test_bounds_change_and_cancellation_follow_requests(api: FakeApi, passes: Passes) -> None:
    request(api, child_runs.create("part", PART))
    await settle(api, passes)
    request(api, child_runs.resize("part", 0, 2))
    await settle(api, passes)
    resized = child(api)
    assert resized is not None
    assert resized["spec"]["cluster"]["workers"] == {"minimum": 0, "maximum": 2}

    request(api, child_runs.cancel("part"))
    await settle(api, passes)
    cancelled = child(api)
    assert cancelled is not None
    assert cancelled["spec"]["cancel"] is True
    assert child_runs.read(lease(api)) == {}

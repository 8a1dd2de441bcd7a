"""A child is created only for a FlowRun that the API server still has, whatever the watches have reported."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from flowcluster_api import names
from flowcluster_operator.kube import Kube
from flowcluster_operator.resources import DASK_CLUSTER, EVENT, FLOW_RUN, JOB, LEASE, NETWORK_POLICY, Resource
from flowcluster_operator.settings import Settings
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, run
from tests.support.passes import Passes

#: Children of a run that a watch can report as deleted before the watch of FlowRuns reports the end of the run.
WATCHED_CHILDREN = [LEASE, DASK_CLUSTER, JOB, NETWORK_POLICY]


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube) -> Iterator[Passes]:
    """An operator that was restarted: it has written nothing yet."""
    passes = Passes(kube, Settings())
    running = passes.running()
    loop_runner.run(running.__aenter__())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


async def start(api: FakeApi, kube: Kube) -> None:
    """Have another operator start a run, and end that operator."""
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    async with Passes(kube, Settings()).running() as first:
        for _ in range(3):
            first.watch(api.objects)
            await first.make()
    assert {obj["kind"] for obj in api.objects.all()} >= {resource.kind for resource in WATCHED_CHILDREN}
    api.requests.clear()


def creations(api: FakeApi) -> list[str]:
    """The requests that create something other than an Event."""
    return [str(request) for request in api.requests if request.method == "POST" and request.resource != EVENT]


@pytest.mark.parametrize("missing", [None, *WATCHED_CHILDREN], ids=lambda resource: getattr(resource, "kind", "none"))
@pytest.mark.parametrize("has_namesake", [False, True], ids=["gone", "created again"])
async def test_no_child_is_created_for_a_run_whose_deletion_is_not_reported_yet(
    api: FakeApi, kube: Kube, passes: Passes, missing: Resource | None, has_namesake: bool
) -> None:
    await start(api, kube)
    reported = api.objects.snapshot()
    if missing is not None:
        reported.delete(missing, KEY.namespace, names.child_name(KEY.name, KEY.uid))
    api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
    api.objects.collect_garbage()
    if has_namesake:
        made = run()
        api.objects.create(FLOW_RUN, KEY.namespace, {**made, "metadata": {**made["metadata"], "uid": "uid-namesake"}})
    passes.watch(reported)
    await passes.make()

    assert creations(api) == []


async def test_missing_child_of_a_run_is_created_again(api: FakeApi, kube: Kube, passes: Passes) -> None:
    await start(api, kube)
    api.objects.delete(NETWORK_POLICY, KEY.namespace, names.child_name(KEY.name, KEY.uid))
    passes.watch(api.objects)
    await passes.make()

    assert len(api.objects.all(NETWORK_POLICY)) == 1


async def test_start_reads_no_flow_run(api: FakeApi, passes: Passes) -> None:
    """The written status proves that the run exists, so a thousand starts cost no read each."""
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    passes.watch(api.objects)
    await passes.make()

    assert [str(item) for item in api.requests if (item.method, item.resource) == ("GET", FLOW_RUN)] == []

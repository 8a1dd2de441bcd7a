"""Passes that fail again and again: the status shows why, and what ends a run still ends it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster_operator.kube import Kube
from flowcluster_operator.reconcile import loop as loop_module
from flowcluster_operator.reconcile import run_pass as run_pass_module
from flowcluster_operator.resources import (
    BY_KIND,
    DASK_CLUSTER,
    EVENT,
    FLOW_RUN,
    JOB,
    LEASE,
    RAY_CLUSTER,
    ROLE,
    SECRET,
    Object,
)
from flowcluster_operator.settings import Settings
from flowcluster_operator.timestamps import timestamp
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, access, cluster, job, lease, run, spec
from tests.support.passes import Passes

WORDS = 'admission webhook "policy.example" failed: timed out'
#: Passes that are made; their waits add up to less than ten seconds.
PASSES = 5


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    """An operator whose second failure in a row counts as lasting."""
    for module in (run_pass_module, loop_module):
        monkeypatch.setattr(module, "SHOWN_SECONDS", 0.0)
    passes = Passes(kube, Settings())
    running = passes.running()
    loop_runner.run(running.__aenter__())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every decision raise."""

    def decide(*_: Any) -> None:
        raise KeyError("requested")

    monkeypatch.setattr(loop_module, "decide", decide)


def workers(kind: str = "Dask", **fields: Any) -> Object:
    """A spec's cluster with these fields of its workers."""
    return {"cluster": {"kind": kind, "workers": fields}}


def ago(seconds: float) -> str:
    """A timestamp that many seconds before now."""
    return timestamp(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds))


def create(api: FakeApi, body: Object | None = None, status: Object | None = None) -> None:
    """Create the FlowRun."""
    api.objects.create(FLOW_RUN, KEY.namespace, run(body, status))


def status(api: FakeApi) -> Object:
    """The status of the run."""
    found: Object = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name).get("status") or {}
    return found


async def work(passes: Passes, api: FakeApi, number: int = PASSES) -> float:
    """Make passes; return the seconds that lie between the first and the last one."""
    waits = []
    for _ in range(number):
        passes.watch(api.objects)
        waits.append(await passes.make() or 0)
    return sum(waits[:-1])


class TestWrites:
    @pytest.mark.parametrize("resource", [LEASE, SECRET, DASK_CLUSTER, JOB, ROLE], ids=lambda resource: resource.kind)
    @pytest.mark.parametrize("code", [409, 429, 500, 503])
    async def test_status_names_a_write_that_fails_again_and_again(
        self, api: FakeApi, passes: Passes, resource: Any, code: int
    ) -> None:
        create(api)
        api.inject(Answer(code, WORDS), "POST", resource, times=None)
        total = await work(passes, api)

        assert total < 10
        assert (status(api)["reason"], WORDS in status(api)["message"]) == ("ApiError", True)
        assert "startTime" in status(api)

    async def test_status_forgets_the_failure_when_a_pass_succeeds(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        api.inject(Answer(500, WORDS), "POST", JOB, times=3)
        await work(passes, api)

        assert status(api)["reason"] == "Waiting"

    async def test_start_deadline_ends_a_run_whose_writes_fail(self, api: FakeApi, passes: Passes) -> None:
        create(api, status={"phase": "Starting", "startTime": ago(601)})
        api.inject(Answer(500, WORDS), "POST", LEASE, times=None)
        await work(passes, api)

        assert (status(api)["phase"], status(api)["finalPhase"]) == ("Failed", "Failed")

    @pytest.mark.parametrize("code", [403, 429, 500])
    async def test_status_names_a_patch_that_is_denied(self, api: FakeApi, passes: Passes, code: int) -> None:
        body = spec(workers=None, cluster={"kind": "Ray", "workers": {"minimum": 0, "maximum": 2}})
        create(api, body, {"phase": "Starting", "startTime": ago(1)})
        await work(passes, api, 1)
        (made,) = api.objects.all(RAY_CLUSTER)
        name = made["metadata"]["name"]
        ready = {"status": {"conditions": [{"type": "x", "status": "True"}]}}
        api.objects.merge(RAY_CLUSTER, KEY.namespace, name, ready)
        api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cluster": {"workers": {"maximum": 5}}}})
        api.inject(Answer(code, WORDS), "PATCH", RAY_CLUSTER, times=None)
        await work(passes, api)

        assert (status(api)["reason"], WORDS in status(api)["message"]) == ("ApiError", True)

    async def test_json_patch_that_a_policy_denies_is_shown(self, api: FakeApi, passes: Passes) -> None:
        """A policy answers as a step does that tests and fails; the object shows the difference."""
        body = spec(workers=None, cluster={"kind": "Ray", "workers": {"minimum": 0, "maximum": 2}})
        create(api, body, {"phase": "Starting", "startTime": ago(1)})
        await work(passes, api, 1)
        (made,) = api.objects.all(RAY_CLUSTER)
        ready = {"status": {"conditions": [{"type": "x", "status": "True"}]}}
        api.objects.merge(RAY_CLUSTER, KEY.namespace, made["metadata"]["name"], ready)
        api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cluster": {"workers": {"maximum": 5}}}})
        api.inject(Answer(422, "denied by policy"), "PATCH", RAY_CLUSTER, times=None)
        await work(passes, api)

        assert "denied by policy" in status(api)["message"]

    @pytest.mark.parametrize("code", [403, 409, 500])
    async def test_status_names_a_delete_that_fails(self, api: FakeApi, passes: Passes, code: int) -> None:
        create(api, spec(cancel=True), {"phase": "Starting", "startTime": ago(1)})
        for made in (lease(), cluster(), job(), *access()):
            api.objects.create(BY_KIND[made["kind"]], KEY.namespace, made)
        api.inject(Answer(code, WORDS), "DELETE", LEASE, times=None)
        await work(passes, api)
        (deleted,) = [item for item in status(api)["conditions"] if item["type"] == "ClusterDeleted"]

        assert (status(api)["phase"], status(api)["reason"]) == ("Stopping", "Cancelled")
        assert WORDS in deleted["message"]

    async def test_conflict_is_read_again_before_the_next_try(self, api: FakeApi, passes: Passes) -> None:
        create(api, spec(cancel=True), {"phase": "Starting", "startTime": ago(1)})
        api.objects.create(DASK_CLUSTER, KEY.namespace, cluster())
        api.inject(Answer(409, WORDS), "DELETE", DASK_CLUSTER)
        passes.watch(api.objects)
        await passes.make()

        words = api.seen(resource=DASK_CLUSTER)
        assert words[:2] == [f"DELETE DaskCluster {cluster()['metadata']['name']}", "GET DaskCluster"]


class TestBugs:
    @pytest.mark.usefixtures("broken")
    async def test_status_names_the_error(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        total = await work(passes, api, 4)

        assert total < 10
        assert (status(api)["reason"], "KeyError" in status(api)["message"]) == ("ReconcileError", True)
        assert [event["reason"] for event in api.objects.all(EVENT)] == ["ReconcileError"]

    @pytest.mark.usefixtures("broken")
    @pytest.mark.parametrize(
        ("body", "start", "reason"),
        [
            (spec(cancel=True), 1, "Cancelled"),
            (spec(), 601, "ReconcileError"),
            (spec(activeDeadlineSeconds=30, startDeadlineSeconds=900), 31, "ReconcileError"),
        ],
        ids=["cancel", "start deadline", "active deadline"],
    )
    async def test_run_still_ends(self, api: FakeApi, passes: Passes, body: Object, start: float, reason: str) -> None:
        create(api, body, {"phase": "Starting", "startTime": ago(start)})
        await work(passes, api, 3)

        assert (status(api)["phase"], status(api)["reason"]) == ("Stopping", reason)

    async def test_status_names_a_read_that_fails(self, api: FakeApi, passes: Passes) -> None:
        """A pass that cannot observe decides nothing; what is known of the run is enough for its status."""
        create(api, spec(workers=None, cluster={"kind": "Dask", "ref": {"name": "shared"}}))
        api.inject(Answer(500, WORDS), "GET", DASK_CLUSTER, times=None)
        await work(passes, api)

        assert (status(api)["reason"], WORDS in status(api)["message"]) == ("ApiError", True)
        assert status(api)["phase"] == "Starting"


class TestInvalidSpec:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"flow": {"entrypoint": "a.py:b", "image": "a\u00a0b"}}, "spec.flow.image"),
            ({"flow": {"entrypoint": "a\u00a0.py:b"}}, "spec.flow.entrypoint"),
            ({"flow": {"entrypoint": "a.py:b", "template": {"spec": "x"}}}, "spec.flow.template"),
            ({"flow": {"entrypoint": "a.py:b", "template": {"spec": {"containers": ["x"]}}}}, "spec.flow.template"),
            (workers(template={"spec": {"containers": [{"name": {}}]}}), "spec.cluster.workers.template"),
            (workers(resources={"limits": {"memory": "1 Gi"}}), "spec.cluster"),
            (workers("Ray", resources={"limits": {"nvidia.com/gpu": "x"}}), "spec.cluster"),
        ],
        ids=str,
    )
    async def test_run_with_a_spec_that_cannot_be_built_ends(
        self, api: FakeApi, passes: Passes, body: Object, field: str
    ) -> None:
        create(api, {"flow": {"entrypoint": "a.py:b"}, **body})
        await work(passes, api)

        assert status(api)["phase"] == "Failed"
        assert status(api)["reason"] in ("InvalidSpec", "InvalidTemplate")
        assert field in status(api)["message"]

    async def test_run_with_an_invalid_spec_can_be_cancelled(self, api: FakeApi, passes: Passes) -> None:
        create(api, {"flow": {"entrypoint": "a.py:b", "image": "a\u00a0b"}, "cancel": True})
        await work(passes, api)

        assert (status(api)["phase"], status(api)["reason"]) == ("Cancelled", "Cancelled")

    async def test_record_of_an_invalid_spec_is_deleted_when_its_time_is_over(
        self, api: FakeApi, passes: Passes
    ) -> None:
        create(api, {"flow": {"entrypoint": "a.py:b", "image": "a\u00a0b"}, "ttlSecondsAfterFinished": 0})
        await work(passes, api)

        assert api.objects.all(FLOW_RUN) == []

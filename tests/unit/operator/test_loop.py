"""Passes: from a run that is due to its children on the API server, and to the next pass."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from flowcluster_api import names
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.reconcile import loop as loop_module
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS, RETRY_SECONDS
from flowcluster_operator.reconcile.loop import Reconciler
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, JOB, LEASE, ROLE_BINDING, Object, Resource
from flowcluster_operator.settings import Settings
from tests.support.fake_api import Answer, Drop, FakeApi, Hold
from tests.support.makers import KEY, run, spec
from tests.support.passes import Passes

WRITES = "POST PUT PATCH DELETE"


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube) -> Iterator[Passes]:
    """An operator that makes passes over two runs at a time."""
    passes = Passes(kube, Settings(concurrency=2, network_policies=False))
    running = passes.running()
    loop_runner.run(running.__aenter__())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


@pytest.fixture
def clock(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time of the passes and of the API server: `now`, which only the test moves."""
    clock = SimpleNamespace(now=dt.datetime.now(dt.UTC))
    frozen = SimpleNamespace(datetime=SimpleNamespace(now=lambda zone: clock.now), UTC=dt.UTC)
    monkeypatch.setattr(loop_module, "dt", frozen)
    api.objects.clock = lambda: clock.now
    return clock


def broken_decide(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """Decide, with a bug that strikes every run but the sound one."""
    if observed.key == KEY and observed.run is not None and observed.run["metadata"]["resourceVersion"] != "1":
        return decide(observed, settings, now)
    raise KeyError("a bug")


def another(number: int, body: Object | None = None) -> Object:
    """A run besides `KEY`'s."""
    made = run(body)
    return {**made, "metadata": {**made["metadata"], "name": f"other-{number}", "uid": f"uid-other-{number}"}}


def create(api: FakeApi, body: Object | None = None) -> RunId:
    """Create a FlowRun on the API server."""
    made = api.objects.create(FLOW_RUN, KEY.namespace, body or run())
    return RunId(KEY.namespace, made["metadata"]["name"], made["metadata"]["uid"])


def status(api: FakeApi, key: RunId = KEY) -> Object:
    """The status of a run."""
    found: Object = api.objects.get(FLOW_RUN, key.namespace, key.name).get("status") or {}
    return found


class TestPass:
    async def test_passes_create_the_children_of_a_new_run(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        await passes.make()

        assert sorted({obj["kind"] for obj in api.objects.all()} - {"Event", "FlowRun"}) == [
            "DaskCluster",
            "Job",
            "Lease",
            "Role",
            "RoleBinding",
            "Secret",
            "ServiceAccount",
        ]
        assert status(api)["phase"] == "Starting"

    async def test_passes_write_nothing_when_nothing_changed(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        await passes.make()
        api.requests.clear()
        await passes.make()

        assert api.requests == []

    async def test_child_run_is_due_when_a_pass_ends_its_parent(self, api: FakeApi, passes: Passes) -> None:
        """No watch event triggers it: the store has what a pass writes before the watch reports it."""
        create(api)
        owner = {**names.reference(KEY.name, KEY.uid), "controller": True}
        body = another(1, spec(flow=False))
        child = create(api, {**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}})
        passes.watch(api.objects)
        await passes.settle()
        cancelled = api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})
        passes.store.put(FLOW_RUN, cancelled)
        await passes.make(KEY)

        assert status(api, child)["reason"] == "ParentEnded"

    async def test_run_is_due_again_after_the_requeue_of_its_plan(self, api: FakeApi, passes: Passes) -> None:
        create(api)

        assert await passes.make() == CHECK_SECONDS

    async def test_run_is_never_due_again_when_it_is_gone(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        await passes.make()
        api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
        api.objects.collect_garbage()
        passes.watch(api.objects)

        assert await passes.make() is None

    async def test_run_is_forgotten_when_it_is_gone(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        await passes.make()
        known = set(passes.memory.credentials)
        api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
        api.objects.collect_garbage()
        passes.watch(api.objects)
        await passes.make()

        assert (known, set(passes.memory.credentials)) == ({KEY}, set())

    async def test_passes_end_when_they_are_cancelled(self, api: FakeApi, kube: Kube) -> None:
        """An operator that stops waits for no answer."""
        create(api)
        held = Hold()
        api.inject(held, "POST")
        async with Passes(kube, Settings()).running() as passes:
            passes.queue.add(KEY)
            await held.arrived.wait()

        assert not held.released.is_set()
        assert api.objects.all(LEASE) == []

    async def test_run_becomes_due_by_a_timer(self, api: FakeApi, kube: Kube) -> None:
        reconciler = Reconciler(Settings(), Passes(kube, Settings()).store, kube)
        create(api)
        running = asyncio.create_task(reconciler.run())
        reconciler.queue.add_later(KEY, 0.001)
        while not status(api):
            await asyncio.wait({running}, timeout=0.001)
        running.cancel()
        await asyncio.wait({running})

        assert status(api)["phase"] == "Starting"


class TestConcurrency:
    async def test_passes_work_on_as_many_runs_as_set(self, api: FakeApi, passes: Passes) -> None:
        keys = [create(api, another(number)) for number in range(3)]
        held = Hold()
        api.inject(held, "POST", LEASE, times=None)
        making = asyncio.create_task(passes.make(*keys))
        while len(api.seen("POST", LEASE)) < 2:
            await asyncio.wait({making}, timeout=0.001)
        await asyncio.wait({making}, timeout=0.02)
        at_a_time = len(api.seen("POST", LEASE))
        held.released.set()
        await making

        assert (at_a_time, len(api.seen("POST", LEASE))) == (2, 3)

    async def test_passes_work_on_one_run_once_at_a_time(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        held = Hold()
        api.inject(held, "POST", LEASE)
        making = asyncio.create_task(passes.make())
        await held.arrived.wait()
        passes.queue.add(KEY)
        await asyncio.wait({making}, timeout=0.02)
        requests = len(api.requests)
        held.released.set()
        await making

        assert requests == len(["GET FlowRun", "PUT FlowRun status", "POST Event", "POST Lease"])
        assert len(api.objects.all(LEASE)) == 1


class TestErrors:
    @pytest.mark.parametrize("fault", [Answer(429), Answer(500), Drop()], ids=str)
    async def test_run_is_due_again_when_the_api_server_is_unavailable(
        self, api: FakeApi, passes: Passes, fault: Answer | Drop
    ) -> None:
        create(api)
        api.inject(fault, "POST", LEASE)
        wait = await passes.make()

        assert wait is not None
        assert 0 < wait <= 1

    async def test_wait_grows_with_each_failure_up_to_ten_seconds(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        api.inject(Answer(500), times=None)
        waits = [await passes.make() or 0 for _ in range(8)]

        assert waits[0] <= 0.4
        assert all(later >= earlier for earlier, later in itertools.pairwise(waits[:5]))
        assert all(5 <= wait <= 10 for wait in waits[6:])

    async def test_wait_is_short_again_when_a_pass_succeeded(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        for _ in range(8):
            api.inject(Answer(500))
            await passes.make()
        await passes.make()
        api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})
        await passes.resync.once()
        api.inject(Answer(500), WRITES)

        assert (await passes.make() or 1) <= 0.4

    async def test_wait_is_at_least_what_the_api_server_wants(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        api.inject(Answer(429, retry_after="7"), "POST", LEASE)

        assert await passes.make() == 7

    async def test_wait_is_at_most_ten_seconds_whatever_the_api_server_wants(
        self, api: FakeApi, passes: Passes
    ) -> None:
        create(api)
        api.inject(Answer(429, retry_after="86400"), "POST", LEASE)

        assert await passes.make() == 10

    async def test_wait_stays_bounded_when_passes_fail_for_hours(
        self, passes: Passes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failure that nothing cures must not end the operator."""
        monkeypatch.setattr(loop_module._logger, "disabled", True)
        monkeypatch.setattr(loop_module, "decide", broken_decide)
        passes.store.put(FLOW_RUN, run())
        waits = [await passes.make() or 0 for _ in range(1100)]

        assert max(waits) <= 10

    async def test_run_goes_on_when_another_one_fails(
        self, api: FakeApi, passes: Passes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken, sound = create(api, another(1)), create(api)
        monkeypatch.setattr(loop_module, "decide", broken_decide)
        await passes.make(broken, sound)

        assert status(api, sound)["phase"] == "Starting"
        assert broken in passes.queue.later
        assert "team/other-1" in caplog.text


class TestConflicts:
    async def test_run_is_read_again_when_its_status_was_stale(self, api: FakeApi, passes: Passes) -> None:
        passes.store.put(FLOW_RUN, run(spec(cancel=True), resourceVersion="1"))
        create(api, run(spec(cancel=True)))
        await passes.make()
        api.requests.clear()
        await passes.make()

        assert api.seen()[:2] == ["GET FlowRun greetings", "PUT FlowRun greetings status"]
        assert status(api)["reason"] == "Cancelled"

    @pytest.mark.parametrize(
        ("code", "method", "resource"), [(409, "PUT", FLOW_RUN), (404, "POST", ROLE_BINDING)], ids=["409", "404"]
    )
    async def test_wait_grows_with_each_conflict(
        self, api: FakeApi, passes: Passes, code: int, method: str, resource: Resource
    ) -> None:
        """Without that, a run writes twenty times a second while a watch is broken."""
        create(api)
        api.inject(Answer(code), method, resource, times=None)
        waits = [await passes.make() or 0 for _ in range(12)]

        assert waits[0] <= 0.05
        assert waits[-1] >= 5

    async def test_run_that_is_gone_ends_when_its_status_cannot_be_written(self, api: FakeApi, passes: Passes) -> None:
        passes.store.put(FLOW_RUN, run(spec(cancel=True)))
        await passes.make()

        assert await passes.make() is None


class TestRejections:
    async def test_status_names_what_was_refused(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        api.inject(Answer(403, "exceeded quota"), "POST", DASK_CLUSTER, times=None)
        await passes.make()

        assert status(api)["reason"] == "Rejected"
        assert "exceeded quota" in status(api)["message"]

    async def test_refused_child_is_not_created_again_immediately(
        self, api: FakeApi, passes: Passes, clock: SimpleNamespace
    ) -> None:
        create(api)
        api.inject(Answer(403), "POST", DASK_CLUSTER, times=None)
        await passes.make()
        clock.now += dt.timedelta(seconds=RETRY_SECONDS - 0.1)
        await passes.make()

        assert len(api.seen("POST", DASK_CLUSTER)) == 1

    async def test_refused_child_is_created_again_after_a_while(
        self, api: FakeApi, passes: Passes, clock: SimpleNamespace
    ) -> None:
        """A quota may have been raised."""
        create(api)
        api.inject(Answer(403), "POST", DASK_CLUSTER)
        await passes.make()
        clock.now += dt.timedelta(seconds=RETRY_SECONDS)
        await passes.make()

        assert len(api.objects.all(DASK_CLUSTER)) == 1
        assert status(api)["reason"] == "Waiting"

    async def test_other_children_are_created_when_one_is_refused(self, api: FakeApi, passes: Passes) -> None:
        create(api)
        api.inject(Answer(403), "POST", DASK_CLUSTER, times=None)
        await passes.make()

        assert len(api.objects.all(JOB)) == 1

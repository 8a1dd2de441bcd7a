"""When a new status is written: a phase and a cause immediately, how far a run is after some seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Emit, Plan
from flowcluster_operator.policies.status_rate import LATER_SECONDS, START_SECONDS, can_wait, interval
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    DEPLOYMENT,
    EVENT,
    FLOW_RUN,
    JOB,
    POD,
    Object,
    Resource,
)
from flowcluster_operator.trackers.pending_statuses import PendingStatuses
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, SETTINGS, deployment, ended, outcome, pod, run, spec
from tests.support.passes import Passes

STARTING: Object = {"phase": "Starting", "reason": "Waiting", "message": "the run is starting"}
FURTHER: Object = {**STARTING, "message": "waiting for 1 of 2 workers"}
REPORT = Plan(status=FURTHER, may_wait=True)


class TestPolicy:
    @given(st.sampled_from(sorted(c.PHASES)), st.sampled_from(["Waiting", "FlowRunning"]), st.text(), st.booleans())
    def test_status_can_wait_when_phase_and_reason_stay(
        self, phase: str, reason: str, message: str, has_warning: bool
    ) -> None:
        events = [Emit("Warning" if has_warning else "Normal", "Any", "any")]
        written = {"phase": phase, "reason": reason, "message": ""}

        assert can_wait(written, {**written, "message": message}, events) is not has_warning

    @pytest.mark.parametrize("change", [{"phase": "Running"}, {"reason": "Unschedulable"}, {"observedGeneration": 2}])
    def test_status_cannot_wait_when_phase_reason_or_generation_changes(self, change: Object) -> None:
        assert not can_wait(STARTING, {**STARTING, **change}, ())

    def test_first_status_cannot_wait(self) -> None:
        assert not can_wait({}, STARTING, ())

    @pytest.mark.parametrize(("phase", "seconds"), [("Starting", START_SECONDS), ("Running", LATER_SECONDS)])
    def test_pause_is_longer_while_a_run_starts(self, phase: str, seconds: float) -> None:
        assert interval({"phase": phase}) == seconds
        assert seconds <= 10


class TestReports:
    @pytest.fixture
    def reports(self) -> PendingStatuses:
        """The status of the run was written at 100."""
        reports = PendingStatuses()
        reports.record_write(KEY, 100)
        return reports

    def test_report_waits_until_the_pause_is_over(self, reports: PendingStatuses) -> None:
        waiting = reports.rate_limited(KEY, REPORT, STARTING, 103)
        due = reports.rate_limited(KEY, REPORT, STARTING, 100 + START_SECONDS)

        assert (waiting.status, waiting.requeue) == (None, START_SECONDS - 3)
        assert due.status == FURTHER

    def test_run_is_due_again_no_later_than_its_plan_asks_for(self, reports: PendingStatuses) -> None:
        plan = Plan(status=FURTHER, may_wait=True, requeue=1.5)

        assert reports.rate_limited(KEY, plan, STARTING, 103).requeue == 1.5

    def test_report_is_written_when_the_last_write_is_long_ago(self, reports: PendingStatuses) -> None:
        assert reports.rate_limited(KEY, REPORT, STARTING, 1000) == REPORT

    def test_report_is_written_when_this_process_has_written_none(self) -> None:
        assert PendingStatuses().rate_limited(KEY, REPORT, STARTING, 103) == REPORT

    def test_other_status_does_not_wait(self, reports: PendingStatuses) -> None:
        plan = Plan(status={**FURTHER, "phase": "Running"})

        assert reports.rate_limited(KEY, plan, STARTING, 103) == plan

    def test_passes_go_on_from_the_status_that_waits(self, reports: PendingStatuses) -> None:
        reports.rate_limited(KEY, REPORT, STARTING, 103)

        assert reports.latest(KEY, STARTING) == FURTHER

    def test_status_of_another_client_replaces_the_one_that_waits(self, reports: PendingStatuses) -> None:
        reports.rate_limited(KEY, REPORT, STARTING, 103)
        other = {**STARTING, "phase": "Failed"}

        assert reports.latest(KEY, other) == other

    @pytest.mark.parametrize("step", ["wrote", "withdrawn", "forgotten"])
    def test_no_status_is_pending_any_more(self, reports: PendingStatuses, step: str) -> None:
        reports.rate_limited(KEY, REPORT, STARTING, 103)
        if step == "wrote":
            reports.record_write(KEY, 104)
        elif step == "withdrawn":
            reports.rate_limited(KEY, Plan(), STARTING, 104)
        else:
            reports.forget(KEY)

        assert reports.latest(KEY, STARTING) == STARTING


@pytest.fixture
def passes(loop_runner: asyncio.Runner, kube: Kube) -> Iterator[Passes]:
    """An operator at work."""
    passes = Passes(kube, SETTINGS)
    running = passes.running()
    loop_runner.run(running.__aenter__())
    yield passes
    loop_runner.run(running.__aexit__(None, None, None))


class TestLife:
    """A run on the fake API server, whose pods become Ready one after the other."""

    def of(self, api: FakeApi, made: Object, above: Resource) -> Object:
        """An object that the run's Job or DaskCluster controls."""
        (owner,) = api.objects.all(above)
        reference = {
            "apiVersion": above.api_version, "kind": above.kind, "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": True,
        }  # fmt: skip
        metadata = {**made["metadata"], "namespace": KEY.namespace, "ownerReferences": [reference]}
        return {**made, "metadata": metadata}

    async def see(self, api: FakeApi, passes: Passes) -> None:
        """Let the watches bring what changed."""
        passes.watch(api.objects)
        await passes.settle()

    async def add(self, api: FakeApi, passes: Passes, made: Object, above: Resource = DASK_CLUSTER) -> None:
        """A pod becomes Ready."""
        api.objects.create(POD, KEY.namespace, self.of(api, made, above))
        await self.see(api, passes)

    async def start(self, api: FakeApi, passes: Passes) -> None:
        """All pods of a new run become Ready, one after the other."""
        api.objects.create(FLOW_RUN, KEY.namespace, run())
        await passes.make()
        api.objects.create(DEPLOYMENT, KEY.namespace, self.of(api, deployment(), DASK_CLUSTER))
        await self.add(api, passes, pod("driver"), JOB)
        for made in (pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")):
            await self.add(api, passes, made)

    def status(self, api: FakeApi) -> Object:
        """The status on the API server."""
        found: Object = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]
        return found

    async def test_start_takes_two_writes_of_the_status(self, api: FakeApi, passes: Passes) -> None:
        await self.start(api, passes)

        assert self.status(api)["phase"] == "Running"
        assert len(api.seen("PUT", FLOW_RUN)) == 2

    async def test_status_that_waited_is_in_the_next_one(self, api: FakeApi, passes: Passes) -> None:
        await self.start(api, passes)
        found = self.status(api)

        assert [entry["reason"] for entry in found["story"]] == ["Creating", "FlowRunning", "ClusterUsable"]
        assert (found["flow"]["attempts"], found["cluster"]["workers"]["ready"]) == (1, 2)

    async def test_run_is_due_when_its_report_is(self, api: FakeApi, passes: Passes) -> None:
        api.objects.create(FLOW_RUN, KEY.namespace, run())
        wait = await passes.make()

        assert "cluster" not in self.status(api)
        assert wait is not None
        assert wait <= START_SECONDS

    async def test_another_process_shows_what_it_finds(self, api: FakeApi, kube: Kube, passes: Passes) -> None:
        """It does not know what waited, and observes the same again."""
        api.objects.create(FLOW_RUN, KEY.namespace, run())
        await passes.make()
        other = Passes(kube, SETTINGS)
        async with other.running():
            other.watch(api.objects)
            await other.settle()

        assert self.status(api)["cluster"]["kind"] == "Dask"

    async def test_lost_job_is_noticed_before_its_name_is_written(self, api: FakeApi, passes: Passes) -> None:
        """The status that waits names it."""
        api.objects.create(FLOW_RUN, KEY.namespace, run())
        await passes.make()
        (made,) = api.objects.all(JOB)
        api.objects.delete(JOB, KEY.namespace, made["metadata"]["name"])
        await self.see(api, passes)

        assert self.status(api)["reason"] == "DriverLost"
        assert len(api.seen("POST", JOB)) == 1

    async def test_life_of_a_run_takes_sixteen_writes(self, api: FakeApi, passes: Passes) -> None:
        """Without the network policy, fifteen."""
        await self.start(api, passes)
        (driver,) = [made for made in api.objects.all(POD) if made["metadata"]["name"].startswith("driver")]
        end: dict[str, Any] = {"status": pod("driver", ended(0, outcome()), phase="Succeeded")["status"]}
        api.objects.merge(POD, KEY.namespace, driver["metadata"]["name"], end)
        for _ in range(3):
            await self.see(api, passes)

        assert self.status(api)["phase"] == "Succeeded"
        assert Counter(request.method for request in api.requests if request.method != "GET") == {
            "POST": 7 + 3, "PUT": 4, "DELETE": 1
        }  # fmt: skip
        assert [(event["type"], event["reason"]) for event in api.objects.all(EVENT)] == [
            ("Normal", "Creating"), ("Normal", "FlowRunning"), ("Normal", "Succeeded")
        ]  # fmt: skip
        (running,) = [event for event in api.objects.all(EVENT) if event["reason"] == "FlowRunning"]
        assert running["message"] == "the scheduler and 2 workers are ready; the driver was started"

    async def test_cause_is_written_immediately(self, api: FakeApi, passes: Passes) -> None:
        api.objects.create(FLOW_RUN, KEY.namespace, run(spec(workers=None)))
        await passes.make()
        scheduled = {"status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
        await self.add(api, passes, pod("driver", {}, phase="Pending", scheduled=scheduled), JOB)

        assert self.status(api)["reason"] == "Unschedulable"

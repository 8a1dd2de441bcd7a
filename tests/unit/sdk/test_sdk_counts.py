"""The counts of the task runs of a flow run, and how they get into the run's Lease."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.agent import handle, protocol
from flowcluster.agent.activity import Activity
from flowcluster.agent.driver_process import DriverProcess
from flowcluster.agent.handle import AgentHandle
from flowcluster.agent.lease_renewal import LeaseRenewer
from flowcluster.agent.pending_report import PendingReport
from flowcluster.agent.protocol import AgentJob, Counted
from flowcluster.cli import run_command
from flowcluster.context import Counts, get_run_context
from flowcluster.engine import run_loop, sigterm
from flowcluster.kube.choice import Choice
from flowcluster_api.lease import Demand
from flowcluster_api.progress import ANNOTATION_PROGRESS, Progress, Tasks
from tests.support.waiting import wait_until

#: Renewals are due every ten minutes: each other one has another cause.
JOB = AgentJob(Choice(None, None, "team"), "run", "uid", "lease", 3600, "me", 1)


@task
def passing() -> None:
    return None


@task
def failing() -> None:
    raise ValueError


class TestFlowRun:
    def test_flow_run_counts_its_task_runs(self) -> None:
        gate, seen = threading.Event(), []

        @task
        def waiting() -> None:
            gate.wait(10)

        @flow
        def counting() -> str:
            run: Any = get_run_context()
            seen.append(run.counts())
            done = [passing.submit(), failing.submit()]
            for future in done:
                future.wait()
            held = waiting.submit()
            wait_until(lambda: run.counts().running == 1, "the task runs")
            seen.append(run.counts())
            gate.set()
            held.wait()
            seen.append(run.counts())
            return "done"

        counting()

        assert seen == [Counts(0, 0, 0, 0, 0), Counts(3, 1, 1, 1, 1), Counts(3, 0, 2, 1, 0)]

    def test_task_runs_of_a_subflow_are_unfinished_work_of_the_outermost_run(self) -> None:
        gate, seen = threading.Event(), []

        @task
        def waiting() -> None:
            gate.wait(10)

        @flow
        def inner() -> str:
            held = [waiting.submit(), waiting.submit()]
            seen.append(outermost[0].counts())
            gate.set()
            for future in held:
                future.wait()
            return "done"

        @flow
        def outer() -> str:
            inner()
            seen.append(outermost[0].counts())
            return "done"

        outermost: list[Any] = []
        run_loop.on_begin.append(outermost.append)
        try:
            outer()
        finally:
            run_loop.on_begin.remove(outermost.append)

        assert len(outermost) == 1
        assert seen == [Counts(0, 0, 0, 0, 2), Counts(1, 0, 1, 0, 0)]


def test_driver_of_a_run_watches_its_flow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counted_flows.py").write_text(
        "from flowcluster import flow, task\n\n@task\ndef one():\n    return 1\n\n"
        "@flow\ndef counting():\n    return one.submit().result()\n"
    )
    watched: list[Any] = []
    agent = SimpleNamespace(watch=watched.append, stop=lambda: None)
    monkeypatch.setattr(run_command, "pod_agent_of", lambda environment: agent)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sigterm, "on_sigterm", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    ending = run_command.main(f"{tmp_path / 'counted_flows.py'}:counting", [], {})

    assert watched == [ending.run]
    assert watched[0].counts() == Counts(1, 0, 1, 0, 0)
    assert run_loop.on_begin == []


class Recording:
    """FlowRuns of a namespace in which every write succeeds.

    Attributes:
        patches: of the Lease.
    """

    def __init__(self) -> None:
        self.patches: list[Any] = []

    def patch_lease(self, name: str, patch: dict[str, Any]) -> None:
        self.patches.append(patch)


class Awake(DriverProcess):
    """A driver that is never stopped."""

    def is_stopped(self) -> bool:
        return False


class TestLease:
    def test_each_renewal_reports_the_progress(self) -> None:
        api, progress = Recording(), iter([None, Progress(Tasks(1, 1)), Progress(Tasks(1, 0, 1))])
        report = PendingReport()
        keeper = LeaseRenewer(JOB, api, Awake(1), report, lambda: next(progress))  # type: ignore[arg-type]

        async def renew() -> None:
            keeping = asyncio.create_task(keeper.keep())
            for workers in range(3):
                report.publish(Demand(workers))
                while len(api.patches) <= workers:
                    await asyncio.wait({keeping}, timeout=0.001)
            keeping.cancel()

        asyncio.run(renew())
        reported = [patch["metadata"]["annotations"].get(ANNOTATION_PROGRESS) for patch in api.patches]

        assert [text and Progress.from_json(text) for text in reported] == [
            None,
            Progress(Tasks(1, 1)),
            Progress(Tasks(1, 0, 1)),
        ]

    def test_work_that_begins_during_a_renewal_is_reported_immediately(self) -> None:
        report = PendingReport()

        class Waking(Recording):
            """FlowRuns of a namespace. Work begins while the first renewal is in flight."""

            loop: asyncio.AbstractEventLoop

            def patch_lease(self, name: str, patch: dict[str, Any]) -> None:
                super().patch_lease(name, patch)
                if len(self.patches) == 1:
                    self.loop.call_soon_threadsafe(report.wake)

        api = Waking()
        keeper = LeaseRenewer(JOB, api, Awake(1), report)  # type: ignore[arg-type]

        async def renew() -> None:
            api.loop = asyncio.get_running_loop()
            keeping = asyncio.create_task(keeper.keep())
            async with asyncio.timeout(60):
                while len(api.patches) < 2:
                    await asyncio.wait({keeping}, timeout=0.001)
            keeping.cancel()

        asyncio.run(renew())

    def test_new_counts_cause_no_renewal(self) -> None:
        api, activity = Recording(), Activity(False, lambda: None)
        keeper = LeaseRenewer(JOB, api, Awake(1), PendingReport(), activity.progress)  # type: ignore[arg-type]

        async def count() -> None:
            keeping = asyncio.create_task(keeper.keep())
            while not api.patches:
                await asyncio.wait({keeping}, timeout=0.001)
            for total in range(100):
                activity.record_counts(Counted(total, 0, total, 0, 0))
                await asyncio.wait({keeping}, timeout=0.001)
            keeping.cancel()

        asyncio.run(count())

        assert len(api.patches) == 1


class FakeProcess:
    """An agent that runs and sends no message: its stdin is a pipe, or a full one."""

    def __init__(self, stdin: Any) -> None:
        self.stdin, self.stdout, self.returncode = stdin, io.StringIO(), 0

    def wait(self, timeout: float | None = None) -> int:
        return 0


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the two ends of the pipe to an agent."""
    import os

    read, write = os.pipe()
    monkeypatch.setattr(handle, "COUNT_SECONDS", 0.001)
    monkeypatch.setattr(AgentHandle, "_start_agent", lambda self: FakeProcess(os.fdopen(write, "w")))
    with os.fdopen(read) as reader:
        yield reader


class TestAgent:
    def test_driver_sends_its_counts_repeatedly(self, pipe: Any) -> None:
        agent = AgentHandle(JOB, lambda lost: None, lambda: Counts(5, 1, 3, 1, 1))
        received = [protocol.read(pipe.readline()) for _ in range(3)]
        agent.stop()

        assert received == [Counted(5, 1, 3, 1, 1)] * 3

    def test_driver_sends_nothing_before_there_are_counts(self, pipe: Any) -> None:
        counts = iter([None, None, Counts(1, 0, 0, 0, 1)])
        agent = AgentHandle(JOB, lambda lost: None, lambda: next(counts, None))
        received = protocol.read(pipe.readline())
        agent.stop()

        assert received == Counted(1, 0, 0, 0, 1)

    def test_driver_does_not_wait_for_an_agent_that_reads_nothing(self, pipe: Any) -> None:
        """Otherwise, the driver's last message would wait behind the counts."""
        number = 0

        def count() -> Counts:
            nonlocal number
            number += 1
            return Counts(number, 0, 0, 0, 0)

        agent = AgentHandle(JOB, lambda lost: None, count)
        wait_until(lambda: not agent._has_room(), "the pipe is full")
        before = number
        wait_until(lambda: number > before + 5, "the driver still counts")
        agent.stop()

"""The agent's program: ``python -m flowcluster.agent``, started by `flowcluster.agent.handle`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
from typing import Any

from flowcluster.agent import protocol
from flowcluster.agent.activity import Activity
from flowcluster.agent.driver_process import DriverProcess
from flowcluster.agent.lease_renewal import LOOK_SECONDS, RETRY_SECONDS, LeaseRenewer
from flowcluster.agent.pending_report import PendingReport
from flowcluster.agent.tunnel import Tunnel
from flowcluster.agent.worker_bounds import wait_until_scaling_is_needed
from flowcluster.errors import FlowclusterError, KubernetesError
from flowcluster.kube.access import connect
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api.driver import Outcome

#: Seconds to connect to the API server, and to wait for its answer. Repeating a renewal is better than a long wait.
_TIMEOUT = (2.0, 3.0)
#: Seconds in which the operator can report why the scheduler's pod does not exist any more.
EXPLAIN_SECONDS = 10.0
#: Seconds in which connections can end when the agent ends.
CLOSE_SECONDS = 2.0
#: Largest number of bytes that are read from the driver at a time.
_CHUNK = 65_536

_VANISHED = Outcome(
    state="Crashed",
    reason="DriverLost",
    message="the driver's process ended without releasing its cluster",
    exit_code=1,
)


class Agent:
    """The agent of one driver.

    Args:
        job: what the agent does, and for which run.
    """

    def __init__(self, job: protocol.AgentJob) -> None:
        self._access = connect(job.choice)
        self._driver = DriverProcess(job.pid)
        self._job = job
        self._flow_runs = FlowRuns(self._access, _TIMEOUT)
        self._report = PendingReport()
        self._activity = Activity(job.kind == "Dask", self._report.wake)
        self._lease = LeaseRenewer(job, self._flow_runs, self._driver, self._report, self._activity.progress)
        self._scaling: asyncio.Task[Any] | None = None
        self._tunnel: Tunnel | None = None
        self._is_lost = False
        self._stdin = asyncio.StreamReader()

    async def run(self) -> None:
        """Serve until the driver releases its cluster or ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=feed, args=[loop, self._stdin], name="flowcluster-stdin", daemon=True).start()
        keeping = asyncio.create_task(self._keep())
        if self._job.adapts:  # import the modules for scaling while the cluster starts
            getting_ready = asyncio.to_thread(importlib.import_module, f"{__package__}.scaling")
            self._scaling = asyncio.create_task(getting_ready)
        listening = asyncio.create_task(self._listen())
        watching = asyncio.create_task(self._watch())
        done, _ = await asyncio.wait([listening, watching], return_when=asyncio.FIRST_COMPLETED)
        outcome = done.pop().result()
        keeping.cancel()
        if self._scaling is not None:
            self._scaling.cancel()
        if self._job.ends:
            await self._release(outcome or _VANISHED.to_json(), driver_waits=outcome is not None)
        if self._tunnel is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tunnel.close(), CLOSE_SECONDS)

    async def _keep(self) -> None:
        self._lose(await self._lease.keep())

    def _lose(self, lost: protocol.Lost) -> None:
        if not self._is_lost:
            self._is_lost = True
            send(lost)
            if self._tunnel:
                self._tunnel.cut()

    async def _explain(self, is_serving: bool) -> None:
        """Report the end of the run to the driver, if it is over, before a connection to the scheduler ends.

        Args:
            is_serving: whether the scheduler still accepts connections. If it does not, the operator reports the cause
                soon. The agent waits up to `EXPLAIN_SECONDS` for the cause.
        """
        until = asyncio.get_running_loop().time() + EXPLAIN_SECONDS
        while not self._is_lost:
            if lost := await self._lease.ended():
                self._lose(lost)
            elif is_serving or asyncio.get_running_loop().time() > until:
                return
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def _listen(self) -> str | None:
        """Process the driver's requests. Return the outcome that it sends at its end; None if it ends without one."""
        while line := (await self._stdin.readline()).decode():
            message = protocol.read(line)
            if isinstance(message, protocol.Release):
                return message.outcome
            if isinstance(message, protocol.Adapt):
                self._adapt(message)
            if isinstance(message, protocol.Counted):
                self._activity.record_counts(message)
            if isinstance(message, protocol.Forward):
                access = self._access._replace(namespace=message.namespace or self._access.namespace)
                self._tunnel = Tunnel(access, message.pod, self._explain)
                try:
                    send(protocol.Forwarding(await self._tunnel.open(message.ports)))
                except (FlowclusterError, OSError) as error:
                    send(protocol.Forwarding({}, str(error)))
        return None

    def _adapt(self, request: protocol.Adapt) -> None:
        if self._scaling is not None:
            self._scaling.cancel()
        self._scaling = asyncio.create_task(self._scale(request))

    async def _scale(self, request: protocol.Adapt) -> None:
        if request.when_edited:
            await wait_until_scaling_is_needed(lambda: self._flow_runs.get(self._job.run))
            # The import loads Dask. The Lease is renewed in the meantime.
            await asyncio.to_thread(importlib.import_module, f"{__package__}.scaling")
        from flowcluster.agent.scaling import Scaling

        scaling = Scaling(
            request,
            self._job.run,
            self._flow_runs,
            self._report.publish,
            lambda text: send(protocol.Trouble(text)),
            self._activity.record_scheduler,
        )
        await scaling.run()

    async def _watch(self) -> None:
        while not self._driver.is_gone():  # noqa: ASYNC110 - the process table sends no events
            await asyncio.sleep(LOOK_SECONDS)

    async def _release(self, outcome: str, driver_waits: bool) -> None:
        """End the lease. Retry once if the driver waits for the end, else until the lease has expired."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (2 * RETRY_SECONDS if driver_waits else self._job.duration)
        while True:
            try:
                await self._lease.release(outcome)
                return send(protocol.Released())
            except KubernetesError as error:
                if loop.time() > until:
                    return send(protocol.Released(str(error)))
            await asyncio.sleep(RETRY_SECONDS)


def feed(loop: asyncio.AbstractEventLoop, reader: asyncio.StreamReader) -> None:
    """Feed the driver's output to the reader. Runs in a thread: event loops on Windows cannot wait for a pipe."""
    descriptor = sys.stdin.fileno()
    with contextlib.suppress(OSError, RuntimeError):  # the loop is closed
        while data := os.read(descriptor, _CHUNK):
            loop.call_soon_threadsafe(reader.feed_data, data)
        loop.call_soon_threadsafe(reader.feed_eof)


def send(message: protocol.Message) -> None:
    """Send a message to the driver. Do nothing if the driver has ended."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(protocol.write(message))
        sys.stdout.flush()


async def main(job: str) -> None:
    """Run the agent for a job in the form of `AgentJob.to_json`."""
    await Agent(protocol.AgentJob.from_json(job)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    # Exit immediately: the driver waits for the exit, and a regular exit takes a second after these imports.
    os._exit(0)

"""The agent's program: ``python -m flowcluster.agent``, started by `flowcluster.agent.handle`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
from typing import Any

from flowcluster.agent import messages
from flowcluster.agent.activity import Activity
from flowcluster.agent.bounds import until_edited
from flowcluster.agent.driver import Driver
from flowcluster.agent.lease import LOOK_SECONDS, RETRY_SECONDS, LeaseKeeper
from flowcluster.agent.tunnel import Tunnel
from flowcluster.errors import FlowclusterError, KubernetesError
from flowcluster.kube.access import connect
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api.driver import Outcome

#: Seconds for connecting and for an answer: a renewal that hangs is better made anew.
_TIMEOUT = (2.0, 3.0)
#: Seconds for the operator to say why the scheduler's pod has gone.
EXPLAIN_SECONDS = 10.0
#: Seconds for connections to end when the agent does.
CLOSE_SECONDS = 2.0
#: Bytes that are read from the driver at a time.
_CHUNK = 65_536

_VANISHED = Outcome(
    state="Crashed",
    reason="DriverLost",
    message="the driver's process ended without giving its cluster back",
    exit_code=1,
)


class Agent:
    """One driver's agent."""

    def __init__(self, job: messages.Job) -> None:
        self._access = connect(job.choice)
        self._driver = Driver(job.pid)
        self._job = job
        self._flow_runs = FlowRuns(self._access, _TIMEOUT)
        self._activity = Activity(job.kind == "Dask", lambda: self._lease.wake())
        self._lease = LeaseKeeper(job, self._flow_runs, self._driver, self._activity.progress)
        self._scaling: asyncio.Task[Any] | None = None
        self._tunnel: Tunnel | None = None
        self._is_lost = False
        self._stdin = asyncio.StreamReader()

    async def run(self) -> None:
        """Serve until the driver releases its cluster, or ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=feed, args=[loop, self._stdin], name="flowcluster-stdin", daemon=True).start()
        keeping = asyncio.create_task(self._keep())
        if self._job.adapts:  # what that takes is imported while the cluster starts
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
            await self._release(outcome or _VANISHED.to_json(), is_heard=outcome is not None)
        if self._tunnel is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tunnel.close(), CLOSE_SECONDS)

    async def _keep(self) -> None:
        self._lose(await self._lease.keep())

    def _lose(self, lost: messages.Lost) -> None:
        if not self._is_lost:
            self._is_lost = True
            tell(lost)
            if self._tunnel:
                self._tunnel.cut()

    async def _explain(self, is_serving: bool) -> None:
        """A connection to the scheduler ends: let the driver know first if the run is over.

        Where the scheduler itself is gone, the operator will soon say so.
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
        """Do what the driver asks; the outcome that it leaves, None if it ended without one."""
        while line := (await self._stdin.readline()).decode():
            message = messages.read(line)
            if isinstance(message, messages.Release):
                return message.outcome
            if isinstance(message, messages.Adapt):
                self._adapt(message)
            if isinstance(message, messages.Counted):
                self._activity.counted(message)
            if isinstance(message, messages.Forward):
                access = self._access._replace(namespace=message.namespace or self._access.namespace)
                self._tunnel = Tunnel(access, message.pod, self._explain)
                try:
                    tell(messages.Forwarding(await self._tunnel.open(message.ports)))
                except (FlowclusterError, OSError) as error:
                    tell(messages.Forwarding({}, str(error)))
        return None

    def _adapt(self, wanted: messages.Adapt) -> None:
        if self._scaling is not None:
            self._scaling.cancel()
        self._scaling = asyncio.create_task(self._scale(wanted))

    async def _scale(self, wanted: messages.Adapt) -> None:
        if wanted.when_edited:
            await until_edited(lambda: self._flow_runs.get(self._job.run))
            # It imports Dask. The Lease is renewed meanwhile.
            await asyncio.to_thread(importlib.import_module, f"{__package__}.scaling")
        from flowcluster.agent.scaling import Scaling

        scaling = Scaling(
            wanted,
            self._job.run,
            self._flow_runs,
            self._lease.publish,
            lambda text: tell(messages.Trouble(text)),
            self._activity.looked,
        )
        await scaling.run()

    async def _watch(self) -> None:
        while not self._driver.is_gone():  # noqa: ASYNC110 - the process table tells nobody by itself
            await asyncio.sleep(LOOK_SECONDS)

    async def _release(self, outcome: str, is_heard: bool) -> None:
        """End the lease. For a driver that waits it is tried once more at most, else until the lease has run out."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (2 * RETRY_SECONDS if is_heard else self._job.duration)
        while True:
            try:
                await self._lease.release(outcome)
                return tell(messages.Released())
            except KubernetesError as error:
                if loop.time() > until:
                    return tell(messages.Released(str(error)))
            await asyncio.sleep(RETRY_SECONDS)


def feed(loop: asyncio.AbstractEventLoop, reader: asyncio.StreamReader) -> None:
    """Give the reader what the driver writes, in a thread: event loops on Windows cannot wait for such a pipe."""
    descriptor = sys.stdin.fileno()
    with contextlib.suppress(OSError, RuntimeError):  # the loop is closed
        while data := os.read(descriptor, _CHUNK):
            loop.call_soon_threadsafe(reader.feed_data, data)
        loop.call_soon_threadsafe(reader.feed_eof)


def tell(message: messages.Message) -> None:
    """Say it to the driver, if that is still there to hear it."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(messages.write(message))
        sys.stdout.flush()


async def main(job: str) -> None:
    """Do what is written in `job`."""
    await Agent(messages.Job.from_json(job)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    # At once: the driver waits for it, and taking down what was imported takes a second.
    os._exit(0)

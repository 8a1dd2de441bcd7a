"""Poll a Dask scheduler through plugins that this process registers there. The agent and the keeper use this."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from distributed.core import rpc
from distributed.security import Security

from flowcluster._util import pickling
from flowcluster.agent import worker_end_plugin
from flowcluster.agent.worker_end_plugin import WorkerEndPlugin

#: Number of consecutive failed polls after which a caller reports the failure.
MANY_FAILURES = 5


async def poll_scheduler(
    address: str,
    interval: float,
    plugins: Mapping[str, tuple[Any, ModuleType]],
    poll: Callable[[Any], Awaitable[None]],
    failed: Callable[[int, Exception], None],
) -> None:
    """Call `poll` in intervals until cancelled. Repeat a failed poll over a new connection.

    This function sends the plugins by value: the scheduler's image does not have to contain flowcluster. It sends them
    with each new connection, because a restarted scheduler does not have them. It sends `WorkerEndPlugin`, too.

    Args:
        address: of the scheduler.
        interval: seconds between two polls.
        plugins: by name, each with the module that defines it.
        poll: called with the connection to the scheduler.
        failed: called with the number of consecutive failed polls, and the last error.
    """
    failures = 0
    while True:
        try:
            credentials = Security().get_connection_args("client")  # those in Dask's configuration, if any
            async with rpc(address, connection_args=credentials) as scheduler:
                for name, (plugin, module) in plugins.items():
                    sent = pickling.dumps_by_value(plugin, module)
                    await scheduler.register_scheduler_plugin(plugin=sent, name=name, idempotent=True)
                # Polls do not wait for it, because the scheduler's response waits for all workers.
                registering = asyncio.create_task(_register_worker_end(scheduler))
                try:
                    while True:
                        await poll(scheduler)
                        failures = 0
                        await asyncio.sleep(interval)
                finally:
                    registering.cancel()
        except Exception as error:
            failures += 1
            failed(failures, error)
        await asyncio.sleep(interval)


async def _register_worker_end(scheduler: Any) -> None:
    sent = pickling.dumps_by_value(WorkerEndPlugin(), worker_end_plugin)
    with contextlib.suppress(OSError):  # of one worker: the scheduler has the plugin for those that join later
        await scheduler.register_worker_plugin(plugin=sent, name=worker_end_plugin.NAME, idempotent=True)

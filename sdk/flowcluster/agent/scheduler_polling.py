"""Poll a Dask scheduler through plugins that this process registers there. The agent and the keeper use this."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from distributed.core import rpc
from distributed.security import Security

from flowcluster._util import pickling

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
    with each new connection, because a restarted scheduler does not have them.

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
                while True:
                    await poll(scheduler)
                    failures = 0
                    await asyncio.sleep(interval)
        except Exception as error:
            failures += 1
            failed(failures, error)
        await asyncio.sleep(interval)

"""Staying connected to a Dask scheduler, with plugins of ours in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from distributed.core import rpc
from distributed.security import Security

from flowcluster import pickling

#: Looks that have to fail one after the other before that is reported.
MANY_FAILURES = 5


async def attend(
    address: str,
    interval: float,
    plugins: Mapping[str, tuple[Any, ModuleType]],
    look: Callable[[Any], Awaitable[None]],
    failed: Callable[[int, Exception], None],
) -> None:
    """Call `look` in intervals until cancelled.

    The plugins are sent by value: the scheduler's image does not have to contain flowcluster. A scheduler that
    restarted gets them again.

    Args:
        address: of the scheduler.
        interval: seconds between two looks.
        plugins: by name, each with the module that defines it.
        look: gets the connection to the scheduler.
        failed: gets the number of looks that failed one after the other, and why the last one did.
    """
    failures = 0
    while True:
        try:
            keys = Security().get_connection_args("client")  # those that Dask's configuration names, if any
            async with rpc(address, connection_args=keys) as scheduler:
                for name, (plugin, module) in plugins.items():
                    sent = pickling.dumps_by_value(plugin, module)
                    await scheduler.register_scheduler_plugin(plugin=sent, name=name, idempotent=True)
                while True:
                    await look(scheduler)
                    failures = 0
                    await asyncio.sleep(interval)
        except Exception as error:
            failures += 1
            failed(failures, error)
        await asyncio.sleep(interval)

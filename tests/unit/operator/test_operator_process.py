"""What becomes of the operator's process when its own part of it ends."""

from __future__ import annotations

import asyncio
import signal

import kopf

from flowcluster_operator.handlers import _configure, _end_process


def test_process_ends_when_reconciling_ends() -> None:
    """A bug that stops all passes ends the process. Otherwise the operator would look healthy and serve no run."""

    async def breaks() -> None:
        raise RuntimeError("a bug")

    async def story() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        try:
            asyncio.create_task(breaks()).add_done_callback(_end_process)
            await asyncio.wait_for(ended.wait(), 5)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(story())


def test_kopf_watches_neither_kinds_nor_namespaces() -> None:
    """The operator has no right to do so, and kopf would report that."""
    settings = kopf.OperatorSettings()
    _configure(settings)

    assert settings.scanning.disabled

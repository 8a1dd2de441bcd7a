"""What kopf does in the operator's process, and what becomes of that when the operator's own part of it ends."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, cast

import kopf

from flowcluster_operator.handlers import _configure, _end_process
from tests.support.makers import run


def test_kopf_compares_no_flow_runs() -> None:
    """It would copy them for that, at each event."""
    settings = kopf.OperatorSettings()
    _configure(settings)
    storage, body = settings.persistence.diffbase_storage, kopf.Body(cast("Any", run()))

    assert (storage.build(body=body), storage.fetch(body=body)) == ({}, None)


def test_the_process_ends_when_reconciling_does() -> None:
    """A bug that stops all passes ends the process: an operator that only looks healthy serves nobody."""

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

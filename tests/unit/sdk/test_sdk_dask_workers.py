"""What a Dask worker logs when it closes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

distributed = pytest.importorskip("distributed")


async def cancel_close(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a worker whose event loop cancels that."""
    from distributed.worker import BaseWorker, Status

    async def cancelled(self: Any, timeout: float) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched, pytest.raises(asyncio.CancelledError):
        patched.setattr(BaseWorker, "close", cancelled)
        await worker.close(nanny=False)
    worker.status = Status.running  # as if it had not been closed


def test_worker_logs_no_traceback_when_its_close_is_cancelled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowcluster.runners.dask_plugin import WorkerSide

    worker_log = logging.getLogger("distributed.worker")
    monkeypatch.setattr(worker_log, "filters", [])
    monkeypatch.setattr(worker_log, "propagate", True)  # distributed stops it, and caplog listens at the root

    async def main() -> list[str]:
        async with (
            distributed.Scheduler(port=0, dashboard_address=":0") as scheduler,
            distributed.Worker(scheduler.address, nthreads=1, dashboard=False, dashboard_address=":0") as worker,
        ):
            await worker.plugin_add(WorkerSide(), "first")
            await worker.plugin_add(WorkerSide(), "second")
            await cancel_close(worker, monkeypatch)
            worker_log.error("Another error.")
            return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    assert asyncio.run(main()) == ["Another error."]
    assert len(worker_log.filters) == 1

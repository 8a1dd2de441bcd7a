"""What Dask workers log when they close, and the processes of their tasks."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.waiting import wait_until

distributed = pytest.importorskip("distributed")


async def cancel_close(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a worker whose event loop cancels that."""
    from distributed.worker import BaseWorker, Status

    async def cancelled(*args: Any, **kwargs: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(BaseWorker, "close", cancelled)
        with pytest.raises(asyncio.CancelledError):
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


def act_as_worker(pids: Any, is_nanny_alive: bool) -> None:
    """In a daemon, as a nanny starts its worker: start processes that hang, and send their ids.

    Close the worker then, or hang until this process is killed.
    """
    from flowcluster.runners.dask_plugin import WorkerSide

    side = WorkerSide()
    side.setup(SimpleNamespace(nanny="tcp://127.0.0.1:1"))
    forked = multiprocessing.get_context("fork")
    process = forked.Process(target=threading.Event().wait)
    process.start()
    executor = ProcessPoolExecutor(1, mp_context=forked)
    pids.send([process.pid, executor.submit(os.getpid).result()])
    executor.submit(threading.Event().wait)
    if is_nanny_alive:
        side.teardown(None)
    else:
        threading.Event().wait()


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{process}/stat") as stat:
        return ") Z" in stat.read()


@pytest.mark.parametrize("is_nanny_alive", [True, False], ids=["closed", "killed"])
def test_processes_of_tasks_end_with_their_worker(is_nanny_alive: bool) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=act_as_worker, args=(sender, is_nanny_alive), daemon=True)
    worker.start()
    sender.close()
    children = receiver.recv()
    if not is_nanny_alive:
        worker.kill()
    worker.join(60)

    assert worker.exitcode == (0 if is_nanny_alive else -9)
    wait_until(lambda: all(map(is_gone, children)), "the processes of the worker's tasks have ended")


def test_worker_without_a_nanny_leaves_its_process_as_it_is() -> None:
    from flowcluster.runners.dask_plugin import WorkerSide

    side = WorkerSide()
    side.setup(SimpleNamespace(nanny=None))

    assert not side.has_children
    side.teardown(None)


class ConnectingClient:
    """A worker's client that another task has begun to connect: it is connected after some looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.scheduler_comm: Any = None

    @property
    def status(self) -> str:
        self.looks -= 1
        if self.looks < 0:
            self.scheduler_comm = "stream"
        return "connecting" if self.looks > 0 else "running"


def test_nested_session_begins_when_the_client_of_the_worker_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that submit at once on a new worker share one client, which only one of them makes."""
    from flowcluster.runners import dask_nested

    client = ConnectingClient(looks=3)
    streams: list[Any] = []

    def begin(client: Any, *_: Any, **__: Any) -> Any:
        streams.append(client.scheduler_comm)
        return SimpleNamespace(close=lambda cancel: None)

    class Worker:
        scheduler = SimpleNamespace(address="tcp://scheduler")

    worker = Worker()
    monkeypatch.setattr(distributed, "get_client", lambda: client)
    monkeypatch.setattr(dask_nested, "DaskSession", begin)

    dask_nested._acquire(worker)
    dask_nested._release(worker)

    assert streams == ["stream"]

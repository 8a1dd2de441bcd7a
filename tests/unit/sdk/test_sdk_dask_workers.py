"""Log lines of Dask workers when they close, and the processes of their tasks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import _ExecutorManagerThread
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.runners import child_processes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

distributed = pytest.importorskip("distributed")


@pytest.fixture
def worker_log(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Return the logger of Dask's workers without filters. `caplog` gets its records."""
    logger = logging.getLogger("distributed.worker")
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "propagate", True)  # distributed sets it to False, and caplog listens at the root
    return logger


@contextlib.asynccontextmanager
async def one_worker() -> AsyncIterator[tuple[Any, Any]]:
    """Run a scheduler and a worker in this process."""
    async with (
        distributed.Scheduler(port=0, dashboard_address=":0") as scheduler,
        distributed.Worker(scheduler.address, nthreads=1, dashboard=False, dashboard_address=":0") as worker,
    ):
        yield scheduler, worker


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of the logged errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def cancel_close(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a worker while its event loop cancels the close."""
    from distributed.worker import BaseWorker, Status

    async def cancelled(*args: Any, **kwargs: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(BaseWorker, "close", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await worker.close(nanny=False)
    worker.status = Status.running  # else the worker would not close again


def test_worker_logs_no_traceback_when_its_close_is_cancelled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, worker_log: logging.Logger
) -> None:
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    async def main() -> list[str]:
        async with one_worker() as (_, worker):
            await worker.plugin_add(WorkerSide(), "first")
            await worker.plugin_add(WorkerSide(), "second")
            await cancel_close(worker, monkeypatch)
            worker_log.error("Another error.")
            return errors_in(caplog)

    assert asyncio.run(main()) == ["Another error."]
    assert len(worker_log.filters) == 1


@pytest.mark.parametrize("is_closing", [True, False])
def test_heartbeat_without_a_response_is_an_error_unless_the_worker_closes(
    is_closing: bool, caplog: pytest.LogCaptureFixture, worker_log: logging.Logger
) -> None:
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    async def main() -> list[str]:
        async with one_worker() as (scheduler, worker):
            await worker.plugin_add(WorkerSide())
            has_arrived = asyncio.Event()

            async def hang(**kwargs: Any) -> None:
                has_arrived.set()
                await asyncio.Event().wait()

            scheduler.handlers["heartbeat_worker"] = hang
            heartbeat = asyncio.create_task(worker.heartbeat())
            await has_arrived.wait()
            # A closing worker closes its connections, too.
            await (worker.close() if is_closing else worker.rpc.close())
            await heartbeat
            return errors_in(caplog)

    assert asyncio.run(main()) == ([] if is_closing else ["Failed to communicate with scheduler during heartbeat."])


def act_as_worker(pids: Any, is_nanny_alive: bool) -> None:
    """Start processes that hang, and send their ids. Run this in a daemon, as a nanny starts its worker.

    Close the worker then, or hang until this process is killed.
    """
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    side = WorkerSide()
    side.setup(SimpleNamespace(nanny="tcp://127.0.0.1:1", stream_handlers={}))
    child_processes.prepare()
    started = []
    for way in ("fork", "spawn", "forkserver"):
        context: Any = multiprocessing.get_context(way)
        process = context.Process(target=time.sleep, args=[600])
        process.start()
        executor = ProcessPoolExecutor(1, mp_context=context)
        started += [process.pid, executor.submit(os.getpid).result()]
        executor.submit(time.sleep, 600)
    pids.send(started)
    if is_nanny_alive:
        side.teardown(None)
        # Python's exit fails sometimes while a pool closes.
        if any(isinstance(thread, _ExecutorManagerThread) for thread in threading.enumerate()):
            os._exit(2)
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


def test_worker_without_a_nanny_does_not_change_its_process() -> None:
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    side = WorkerSide()
    side.setup(SimpleNamespace(nanny=None, stream_handlers={}))

    assert not side.has_children
    side.teardown(None)


class Circle:
    """An object that only a garbage collection frees, with a value for each thread."""

    def __init__(self) -> None:
        self.me = self
        self.local = threading.local()


def wait_in_new_frames() -> threading.Event:
    """Start threads whose frames are not Python objects yet, and return the event that ends them."""
    end = threading.Event()
    for _ in range(4):
        is_running = threading.Event()
        threading.Thread(target=lambda started: (started.set(), end.wait()), args=[is_running], daemon=True).start()
        is_running.wait()
    return end


def look_at_threads_while_garbage_is_collected() -> None:
    """Make a garbage collection due at each of the objects that `sys._current_frames` makes."""
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    WorkerSide().setup(SimpleNamespace(nanny=None, stream_handlers={}))
    for number in range(300):
        end = wait_in_new_frames()
        gc.disable()
        Circle()
        gc.set_threshold(max(1, gc.get_count()[0] + number % 20 - 10))
        gc.enable()
        sys._current_frames()
        gc.set_threshold(700)
        end.set()


def test_profiler_returns_when_garbage_with_thread_locals_is_due() -> None:
    worker = multiprocessing.get_context("spawn").Process(
        target=look_at_threads_while_garbage_is_collected, daemon=True
    )
    worker.start()
    worker.join(60)
    has_ended = worker.exitcode is not None
    worker.kill()

    assert has_ended
    assert worker.exitcode == 0


@pytest.mark.parametrize("is_enabled", [True, False])
def test_profiler_does_not_change_the_state_of_the_garbage_collector(is_enabled: bool) -> None:
    from flowcluster.runners.dask.worker_plugin import WorkerSide

    WorkerSide().setup(SimpleNamespace(nanny=None, stream_handlers={}))
    (gc.enable if is_enabled else gc.disable)()
    try:
        assert threading.get_ident() in sys._current_frames()
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()

"""The plugin in a Dask worker that reports to the plugin in the scheduler when a task run starts.

The SDK sends instances by value, because a worker does not need flowcluster to load them. So this module imports only
the standard library, distributed and constants of `scheduler_plugin`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import sys
import threading
import time
from concurrent.futures.process import _ExecutorManagerThread
from typing import Any

from distributed import Status, Worker, threadpoolexecutor
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.worker_state_machine import SecedeEvent

from flowcluster.runners.dask.scheduler_plugin import ID_LENGTH, ID_MARK, NAME

#: Seconds for which a closing worker waits until its pools have observed that their processes have ended.
_POOLS_END_SECONDS = 2.0
#: Seconds for which a thread that reads the frames of all threads waits for another one that does the same.
_LOCK_SECONDS = 1.0


class WorkerSide(WorkerPlugin):  # type: ignore[misc] # distributed is not typed
    """Reports to the scheduler when a task run starts, and lets tasks start processes."""

    name = NAME
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Prepare the worker, which calls this first."""
        _quiet_close()
        if sys.version_info < (3, 12):
            _keep_profiler_alive()
        self.has_children = _allow_children() if worker.nanny else False
        self.worker = worker
        self.beginning: list[str] = []
        self.fetching: set[str] = set()
        self.queries: dict[str, _Query] = {}  # key of a run with fetched inputs → its query
        self.inside: dict[str, threading.Thread] = {}  # key of a run → the thread that executes it
        worker.stream_handlers[f"{NAME}-abandon"] = self.abandon

    def teardown(self, worker: Any) -> None:
        """End the processes of tasks. The worker calls this when it closes."""
        if self.has_children:
            _end_children()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Report that a task run starts. The worker calls this at each change of state of any task."""
        if type(key) is not str or key[-ID_LENGTH : len(ID_MARK) - ID_LENGTH] != ID_MARK:
            return
        if finish == "waiting":
            ts = self.worker.state.tasks[key]
            if ts.waiting_for_data:
                self.fetching.add(key)
        elif finish == "executing":
            if key in self.fetching:
                self.fetching.discard(key)
                query = self.queries[key] = _Query()
                query.task = asyncio.get_running_loop().create_task(self._send_query(key, query))
            else:
                # This asyncio task starts, and writes, before the worker's asyncio task that executes the run starts.
                self.beginning.append(key)
                self.reporting = asyncio.get_running_loop().create_task(self._report())
        elif finish in ("released", "forgotten"):
            self.fetching.discard(key)
            self.queries.pop(key, None)

    async def _report(self) -> None:
        """Report started runs immediately, so that the scheduler observes even a run that kills its worker.

        This also sends the messages that wait for the next batch, such as the end of the run before. So the report
        needs no message of its own.
        """
        stream = self.worker.batched_stream
        messages, stream.buffer = stream.buffer, []
        keys, self.beginning = self.beginning, []
        messages.extend({"op": f"{NAME}-started", "key": key} for key in keys)
        try:
            if messages:
                await stream.comm.write(messages, serializers=stream.serializers, on_error="raise")
        except OSError:
            pass  # the worker itself observes that its scheduler is lost

    async def _send_query(self, key: str, query: _Query) -> None:
        try:
            query.may_run = await getattr(self.worker.scheduler, f"{NAME}-may-start")(
                key=key, worker=self.worker.address
            )
        except OSError:
            pass  # the scheduler is lost, and the session of the run with it
        finally:
            query.answered.set()

    def may_run(self, key: str) -> bool:
        """Return whether a run can start. Called in the thread that executes it.

        Only a run with fetched inputs waits for the scheduler's answer: the scheduler cannot know whether the worker
        has started the run or fetches its inputs. Fetching the inputs took longer than the answer takes.
        """
        query = self.queries.pop(key, None)
        if query is not None:
            query.answered.wait()
            if not query.may_run:
                return False
        self.inside[key] = threading.current_thread()
        return True

    def has_run(self, key: str) -> None:
        """Record that a run ends. Called in its thread, which ends, too, if another thread has replaced it."""
        if self.inside.pop(key, None) is not None:
            return
        with threadpoolexecutor.threads_lock:
            # The thread can be in the pool again: a task that has waited for others rejoins it.
            has_place = threading.current_thread() in self.worker.executors["default"]._threads
        if not has_place:
            threadpoolexecutor.thread_state.proceed = False

    def abandon(self, key: str) -> None:
        """Replace the thread that executes this run, whose result no session needs any more."""
        thread = self.inside.pop(key, None)
        pool = self.worker.executors.get("default")
        if thread is None or pool is None:
            return
        with threadpoolexecutor.threads_lock:
            if thread in pool._threads:  # else the thread has left the pool itself
                pool._threads.remove(thread)
                pool._adjust_thread_count()
        ts = self.worker.state.tasks.get(key)
        if ts is not None and ts.state in ("executing", "cancelled", "resumed"):
            event = SecedeEvent(key=key, compute_duration=0.0, stimulus_id=f"abandon-{key}")
            self.worker.handle_stimulus(event)


def _allow_children() -> bool:
    """Let tasks in this worker's own process use multiprocessing. Return False if they already could.

    A nanny starts its worker as a daemon, so that the worker ends when the nanny does. multiprocessing refuses
    processes of daemons. This does not change the record of the nanny.
    """
    process = multiprocessing.current_process()
    if not process.daemon:
        return False
    process.daemon = False
    return True


def _end_children() -> None:
    """End the processes that tasks of this worker have started.

    At its exit, Python wakes up each pool that has not closed yet. When a pool closes at that moment, because its
    processes have ended, the exit fails with a traceback (concurrent.futures.process._python_exit). So wait for the
    pools.
    """
    for child in multiprocessing.active_children():
        child.terminate()
    deadline = time.monotonic() + _POOLS_END_SECONDS
    for thread in threading.enumerate():
        if isinstance(thread, _ExecutorManagerThread):
            thread.join(max(0.0, deadline - time.monotonic()))


def _keep_profiler_alive() -> None:
    """Disable the garbage collector while `sys._current_frames` runs.

    Until Python 3.12, that function makes objects while it holds a lock of the interpreter. A garbage collection that
    starts then and frees a `threading.local` waits forever for the same lock in the same thread
    (python/cpython#106883). Dask's profiler calls the function 100 times a second, in the thread of the worker's event
    loop. A worker in this deadlock stays connected, and its tasks never end.
    """
    if hasattr(sys._current_frames, NAME):
        return
    current_frames = sys._current_frames
    lock = threading.Lock()

    def without_collection() -> dict[int, Any]:
        # Without the lock, two threads restore each other's setting. In a forked process, the lock can have no owner.
        has_lock = lock.acquire(timeout=_LOCK_SECONDS)
        is_enabled = gc.isenabled()
        gc.disable()
        try:
            return current_frames()
        finally:
            if is_enabled:
                gc.enable()
            if has_lock:
                lock.release()

    setattr(without_collection, NAME, True)  # copies of this module have no common state
    sys._current_frames = without_collection


class _QuietClose(logging.Filter):
    """Drops records of calls that end because their worker closes.

    The scheduler and the nanny both close a worker. The first call ends the event loop, which cancels the second call,
    and distributed logs that as an error with a traceback. A closing worker also closes its connections. distributed
    logs a heartbeat that waits for its response as a lost scheduler.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else record.msg
        if isinstance(error, asyncio.CancelledError):
            return False
        return not (isinstance(error, OSError) and _is_closing(error))


def _is_closing(error: OSError) -> bool:
    """Return whether the worker that caught this error is closing or closed."""
    caught_by = error.__traceback__.tb_frame.f_locals.get("self") if error.__traceback__ else None
    return isinstance(caught_by, Worker) and caught_by.status in (Status.closing, Status.closed)


def _quiet_close() -> None:
    for name in ("distributed.worker", "distributed.core"):
        logger = logging.getLogger(name)
        # Not by class: each copy of this module that a worker receives has another class.
        if not any(getattr(one, "name", None) == NAME for one in logger.filters):
            logger.addFilter(_QuietClose(NAME))


class _Query:
    """A query to the scheduler whether a run can start."""

    def __init__(self) -> None:
        self.task: Any = None
        self.answered = threading.Event()
        self.may_run = False

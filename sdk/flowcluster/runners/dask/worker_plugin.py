"""What a Dask worker knows about task runs: it notifies the scheduler when one begins. See `plugin`.

Instances travel by value, so that a worker needs no flowcluster for them. Hence only the standard library, distributed
and values of `plugin` are used here.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
import time
from concurrent.futures.process import _ExecutorManagerThread
from typing import Any

from distributed import Status, Worker, threadpoolexecutor
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.worker_state_machine import SecedeEvent

from flowcluster.runners.dask.plugin import ID_LENGTH, ID_MARK, NAME

#: Seconds for which a worker that closes waits until its pools have noticed that their processes have ended.
_POOLS_END_SECONDS = 2.0


class WorkerSide(WorkerPlugin):  # type: ignore[misc] # distributed is not typed
    """Notifies the scheduler when a task run begins, and lets tasks start processes."""

    name = NAME
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Called by the worker before anything else."""
        _quiet_close()
        self.has_children = _allow_children() if worker.nanny else False
        self.worker = worker
        self.beginning: list[str] = []
        self.fetching: set[str] = set()
        self.asked: dict[str, Any] = {}
        self.inside: dict[str, threading.Thread] = {}  # key of a run → the thread that executes it
        worker.stream_handlers[f"{NAME}-abandon"] = self.abandon

    def teardown(self, worker: Any) -> None:
        """Called by the worker when it closes: no task waits for processes any more."""
        if self.has_children:
            _end_children()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Called by the worker whenever a task of anybody changes its state."""
        if type(key) is not str or key[-ID_LENGTH : len(ID_MARK) - ID_LENGTH] != ID_MARK:
            return
        if finish == "waiting":
            ts = self.worker.state.tasks[key]
            if ts.waiting_for_data:
                self.fetching.add(key)
        elif finish == "executing":
            if key in self.fetching:
                self.fetching.discard(key)
                answer = self.asked[key] = _Answer()
                answer.task = asyncio.get_running_loop().create_task(self._ask(key, answer))
            else:
                # This begins, and has written, before the worker's own task that will execute the run.
                self.beginning.append(key)
                self.telling = asyncio.get_running_loop().create_task(self._tell())
        elif finish in ("released", "forgotten"):
            self.fetching.discard(key)
            self.asked.pop(key, None)

    async def _tell(self) -> None:
        """Tell of the runs that begin, at once: even one that kills its worker is known to have begun.

        What waits to be sent goes along, such as the end of the run before, so that this costs nothing.
        """
        stream = self.worker.batched_stream
        messages, stream.buffer = stream.buffer, []
        keys, self.beginning = self.beginning, []
        messages.extend({"op": f"{NAME}-started", "key": key} for key in keys)
        try:
            if messages:
                await stream.comm.write(messages, serializers=stream.serializers, on_error="raise")
        except OSError:
            pass  # the worker finds out itself that its scheduler is gone

    async def _ask(self, key: str, answer: _Answer) -> None:
        try:
            answer.yes = await getattr(self.worker.scheduler, f"{NAME}-may-start")(key=key, worker=self.worker.address)
        except OSError:
            pass  # the scheduler is gone, and with it the session that wants the run
        finally:
            answer.given.set()

    def may_run(self, key: str) -> bool:
        """In a task's thread: whether the scheduler knows that it begins and still wants it.

        Only a run whose inputs had to be fetched waits for the answer. No other process can know
        whether it has begun or is fetching, and it took longer than this anyway.
        """
        answer = self.asked.pop(key, None)
        if answer is not None:
            answer.given.wait()
            if not answer.yes:
                return False
        self.inside[key] = threading.current_thread()
        return True

    def has_run(self, key: str) -> None:
        """In a task's thread: the run ends. A thread whose place was given to another one ends with it."""
        if self.inside.pop(key, None) is not None:
            return
        with threadpoolexecutor.threads_lock:
            # It can have taken a place again: a task that waited for others does.
            has_place = threading.current_thread() in self.worker.executors["default"]._threads
        if not has_place:
            threadpoolexecutor.thread_state.proceed = False

    def abandon(self, key: str) -> None:
        """Have another thread in the place of the one that executes a run that nothing waits for."""
        thread = self.inside.pop(key, None)
        pool = self.worker.executors.get("default")
        if thread is None or pool is None:
            return
        with threadpoolexecutor.threads_lock:
            if thread in pool._threads:  # else it has left its place itself
                pool._threads.remove(thread)
                pool._adjust_thread_count()
        ts = self.worker.state.tasks.get(key)
        if ts is not None and ts.state in ("executing", "cancelled", "resumed"):
            event = SecedeEvent(key=key, compute_duration=0.0, stimulus_id=f"abandon-{key}")
            self.worker.handle_stimulus(event)


def _allow_children() -> bool:
    """Let tasks in this worker's own process use multiprocessing. Return whether it did not let them.

    A nanny starts its worker as a daemon, so that the worker ends with it, and multiprocessing refuses processes of
    daemons. The nanny's own record stays as it is.
    """
    process = multiprocessing.current_process()
    if not process.daemon:
        return False
    process.daemon = False
    return True


def _end_children() -> None:
    """End the processes that tasks of this worker have started.

    At its exit, Python wakes each pool that has not closed yet. One that closes at that moment, because its processes
    have ended, makes the exit fail with a traceback (concurrent.futures.process._python_exit); so wait for the pools.
    """
    for child in multiprocessing.active_children():
        child.terminate()
    deadline = time.monotonic() + _POOLS_END_SECONDS
    for thread in threading.enumerate():
        if isinstance(thread, _ExecutorManagerThread):
            thread.join(max(0.0, deadline - time.monotonic()))


class _QuietClose(logging.Filter):
    """Drops records of calls that end because their worker closes.

    The scheduler and the nanny both close a worker. The first one's call ends the event loop, and with that it cancels
    the other one's, which distributed logs as an error with a traceback. A closing worker also closes its connections,
    and distributed logs a heartbeat that waits for its answer as a lost scheduler.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else record.msg
        if isinstance(error, asyncio.CancelledError):
            return False
        return not (isinstance(error, OSError) and _is_closing(error))


def _is_closing(error: OSError) -> bool:
    """Return whether the worker that caught this error closes or is closed."""
    caught_by = error.__traceback__.tb_frame.f_locals.get("self") if error.__traceback__ else None
    return isinstance(caught_by, Worker) and caught_by.status in (Status.closing, Status.closed)


def _quiet_close() -> None:
    for name in ("distributed.worker", "distributed.core"):
        logger = logging.getLogger(name)
        # Not by class: each copy of this module that arrives has another one.
        if not any(getattr(one, "name", None) == NAME for one in logger.filters):
            logger.addFilter(_QuietClose(NAME))


class _Answer:
    def __init__(self) -> None:
        self.task: Any = None
        self.given = threading.Event()
        self.yes = False

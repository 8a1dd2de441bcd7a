"""The task runner of a task on a Dask worker, for runs that the task submits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
import weakref
from typing import Any

import distributed

from flowcluster.runners.base import TaskRunner
from flowcluster.runners.dask.session import DaskSession
from flowcluster.runners.dask.session_runner import SessionRunner


class NestedDaskRunner(SessionRunner):
    """Sends tasks to the worker's own cluster, through the worker's own client.

    Args:
        run: UID of the tasks' FlowRun on a shared cluster.
    """

    _worker: Any = None

    def __init__(self, run: str | None = None) -> None:
        self.run = run

    def open(self) -> None:
        """Start a session, or join that of another task of the run. Call this in the thread of a task."""
        TaskRunner.open(self)
        self._worker = distributed.get_worker()
        self._session = _acquire(self._worker, self.run)

    def close(self, cancel: bool = False) -> None:
        """Leave the session. The worker's client stays connected."""
        if self._session is not None:
            self._session = None
            _release(self._worker, self.run)
        TaskRunner.close(self, cancel)


def on_worker(run: str | None = None) -> NestedDaskRunner:
    """Return an open runner for the task that this thread executes.

    Args:
        run: UID of the task's FlowRun on a shared cluster.
    """
    runner = NestedDaskRunner(run)
    runner.open()
    if _is_in_loop():
        # This thread cannot observe when the coroutine waits. So it leaves the worker's pool for the rest of the task.
        with contextlib.suppress(KeyError):  # it has already left the pool, in a sync task that runs the coroutine
            distributed.secede()
    return runner


class _WorkerSession:
    """The session of all tasks of one run that submit on one worker at the same time."""

    def __init__(self) -> None:
        self.session: DaskSession | None = None
        self.users = 0


#: The sessions of this process, by worker, and by the UID of the FlowRun on a shared cluster.
_sessions: weakref.WeakKeyDictionary[Any, dict[str | None, _WorkerSession]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()

#: Lock for making the worker's client: in Dask, each of two threads can make one.
_client_lock = threading.Lock()

#: Seconds between two checks of a client that connects.
_CHECK_SECONDS = 0.005


def _connected_client() -> Any:
    """Return the client of the worker that executes the current task, connected to the scheduler.

    Dask makes this client at its first use. It also returns the client to a second thread before it is connected.
    The connection itself has a timeout (``distributed.comm.timeouts.connect``).
    """
    with _client_lock:
        client = distributed.get_client()
        while client.status in ("newly-created", "connecting"):
            time.sleep(_CHECK_SECONDS)
    return client


def _acquire(worker: Any, run: str | None) -> DaskSession:
    client = _connected_client()
    with _lock:
        found = _sessions.setdefault(worker, {}).setdefault(run, _WorkerSession())
        if found.session is None:
            address, nested = worker.scheduler.address, functools.partial(on_worker, run)
            try:
                found.session = DaskSession(client, address, nested, is_nested=True, run=run)
            except BaseException:
                del _sessions[worker][run]
                raise
        found.users += 1
        return found.session


def _release(worker: Any, run: str | None) -> None:
    with _lock:
        found = _sessions[worker][run]
        found.users -= 1
        if found.users:
            return
        session = _sessions[worker].pop(run).session
    if session is not None:
        session.close(cancel=False)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

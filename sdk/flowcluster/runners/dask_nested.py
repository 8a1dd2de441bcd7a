"""The runner for what a task on a Dask worker submits itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from typing import Any

import distributed

from flowcluster.clusters.address import timeout_seconds
from flowcluster.runners.base import TaskRunner
from flowcluster.runners.dask import DaskTaskRunner
from flowcluster.runners.dask_session import DaskSession

#: Seconds between two looks at whether a client is connected.
_PAUSE = 0.01


class NestedDaskRunner(DaskTaskRunner):
    """Sends to the cluster that the worker belongs to, through the worker's own client."""

    _worker: Any = None

    def open(self) -> None:
        """Get ready, in the thread of a task."""
        TaskRunner.open(self)
        self._worker = distributed.get_worker()
        self._session = _acquire(self._worker)

    def close(self, cancel: bool = False) -> None:
        """Let go; the worker and its client stay."""
        if self._session is not None:
            self._session = None
            _release(self._worker)
        TaskRunner.close(self, cancel)


def on_worker() -> NestedDaskRunner:
    """An open runner for the task that this thread executes."""
    runner = NestedDaskRunner()
    runner.open()
    if _is_in_loop():
        # A coroutine waits without this thread's knowledge: its place is given up for the rest of the task.
        with contextlib.suppress(KeyError):  # it is given up already, by a sync task that runs the coroutine
            distributed.secede()
    return runner


class _Shared:
    """The session of all tasks that submit on one worker at the same time."""

    def __init__(self) -> None:
        self.session: DaskSession | None = None
        self.users = 0


_shared: weakref.WeakKeyDictionary[Any, _Shared] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _acquire(worker: Any) -> DaskSession:
    with _lock:
        client = _connected(distributed.get_client())
        shared = _shared.setdefault(worker, _Shared())
        if shared.session is None:
            shared.session = DaskSession(client, worker.scheduler.address, on_worker, is_nested=True)
        shared.users += 1
        return shared.session


def _connected(client: Any) -> Any:
    """Wait until the worker's client is connected: another task on the worker may have begun to make it.

    Raises TimeoutError if that takes too long.
    """
    deadline = time.monotonic() + timeout_seconds()
    while client.status in ("newly-created", "connecting") or client.scheduler_comm is None:
        if time.monotonic() > deadline or client.status == "closed":
            raise TimeoutError(f"The client of the Dask worker did not connect; it is {client.status}.")
        time.sleep(_PAUSE)
    return client


def _release(worker: Any) -> None:
    with _lock:
        shared = _shared[worker]
        shared.users -= 1
        if shared.users:
            return
        session, shared.session = shared.session, None
    if session is not None:
        session.close(cancel=False)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

"""Send task runs to the scheduler in batches: a flow submits runs faster than a client sends them one by one."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import dask
from dask._task_spec import TaskRef

from flowcluster.runners.dask.result import PendingTask
from flowcluster.runners.dask.worker import Sent, execute

#: Largest number of runs in one batch, and size of their arguments in bytes after which a batch ends.
_MOST, _BYTES = 500, 1_000_000


class SubmitBatcher:
    """Sends task runs in the order in which they are submitted.

    The client's own thread sends all waiting runs as one graph, and a single run immediately. In a large batch, each
    run takes a fraction of the time that a single run takes.

    Args:
        client: sends the runs.
        pending: the session's runs that have not ended, by key. A run that is not among them is not sent.
        failed: called with runs that could not be sent, and the error.
        is_direct: whether `put` sends the run in the calling thread. A session of a task needs that: Dask derives the
            submitting task from the thread, and prefers runs for which that task waits.
    """

    def __init__(
        self,
        client: Any,
        pending: Mapping[str, PendingTask],
        failed: Callable[[list[PendingTask], Exception], None],
        is_direct: bool,
    ) -> None:
        self._client = client
        self._pending = pending
        self._failed = failed
        self._is_direct = is_direct
        self._queue: deque[PendingTask] = deque()
        self._is_due = False

    def put(self, task: PendingTask) -> None:
        """Send a run soon; from any thread."""
        if self._is_direct:
            self._send([task])
            return
        self._queue.append(task)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            # In a new context, because the annotations around this call are those of one run.
            self._client.loop.add_callback(contextvars.Context().run, self._send_queue)

    def _send_queue(self) -> None:
        self._is_due = False
        batch: list[PendingTask] = []
        size = 0
        while self._queue and len(batch) < _MOST and size < _BYTES:
            task = self._queue.popleft()
            if batch and task.annotations != batch[0].annotations:
                self._send(batch)
                batch = []
            batch.append(task)
            size += len(task.call)
        self._send(batch)
        if self._queue:
            self._wake()

    def _send(self, batch: list[PendingTask]) -> None:
        """Send runs that have the same annotations, as one graph."""
        # Some runs can have been cancelled while they waited.
        batch = [task for task in batch if task.result.key in self._pending]
        if not batch:
            return
        try:
            with dask.annotate(**batch[0].annotations):
                futures = self._client.map(
                    execute,
                    [task.code for task in batch],
                    [task.call for task in batch],
                    [_inputs(task) for task in batch],
                    key=[task.result.key for task in batch],
                    pure=False,
                    fifo_timeout=0,
                )
        except Exception as error:
            self._failed(batch, error)
            return
        for task, future in zip(batch, futures, strict=True):
            if task.result.data is None:
                task.result.future = future


def _inputs(task: PendingTask) -> list[Any]:
    """Return the inputs of a run: results that the driver has, and references to results that workers have."""
    inputs: list[Any] = []
    task.by_key = []
    for result in task.upstream:
        if result.data is not None:
            inputs.append(Sent(result.data))
        else:
            task.by_key.append((result, result.key))
            inputs.append(TaskRef(result.key))
    return inputs

"""How task runs get to the scheduler: together where many are submitted at a time."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import dask
from dask._task_spec import TaskRef

from flowcluster.runners.dask.result import Submission
from flowcluster.runners.dask.worker import Sent, execute

#: So many runs, and so many bytes of their arguments, are sent as one graph at most.
_TOGETHER, _BYTES = 500, 1_000_000


class Sending:
    """Sends submissions in the order in which they come.

    A flow submits faster than a client sends. So the client's own thread takes what there is whenever
    it comes round, and sends it as one graph: a single run goes at once, and thousands cost a fraction.

    Args:
        client: to be used.
        running: the session's submissions that have not ended, by key; what is not among them is not sent.
        failed: called with those that could not be sent, and why.
        at_once: whether `put` sends by itself. For tasks that submit: Dask looks at the thread for the task that
            it serves, and gives what that waits for precedence.
    """

    def __init__(
        self,
        client: Any,
        running: Mapping[str, Submission],
        failed: Callable[[list[Submission], Exception], None],
        at_once: bool,
    ) -> None:
        self._client = client
        self._running = running
        self._failed = failed
        self._at_once = at_once
        self._queue: deque[Submission] = deque()
        self._is_due = False

    def put(self, submission: Submission) -> None:
        """Send it soon, from any thread."""
        if self._at_once:
            self._send([submission])
            return
        self._queue.append(submission)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            # In a context of its own: the annotations around this call are those of one submission.
            self._client.loop.add_callback(contextvars.Context().run, self._take)

    def _take(self) -> None:
        self._is_due = False
        taken: list[Submission] = []
        size = 0
        while self._queue and len(taken) < _TOGETHER and size < _BYTES:
            submission = self._queue.popleft()
            if taken and submission.annotations != taken[0].annotations:
                self._send(taken)
                taken = []
            taken.append(submission)
            size += len(submission.call)
        self._send(taken)
        if self._queue:
            self._wake()

    def _send(self, submissions: list[Submission]) -> None:
        """Send submissions that share their annotations as one graph, now."""
        # Some may have been taken back.
        submissions = [one for one in submissions if one.result.key in self._running]
        if not submissions:
            return
        try:
            with dask.annotate(**submissions[0].annotations):
                futures = self._client.map(
                    execute,
                    [one.code for one in submissions],
                    [one.call for one in submissions],
                    [_inputs(one) for one in submissions],
                    key=[one.result.key for one in submissions],
                    pure=False,
                    fifo_timeout=0,
                )
        except Exception as error:
            self._failed(submissions, error)
            return
        for submission, future in zip(submissions, futures, strict=True):
            if submission.result.data is None:
                submission.result.future = future


def _inputs(submission: Submission) -> list[Any]:
    """The results that it needs: those that the driver has, and names of those that workers have."""
    inputs: list[Any] = []
    submission.by_key = []
    for one in submission.upstream:
        if one.data is not None:
            inputs.append(Sent(one.data))
        else:
            submission.by_key.append((one, one.key))
            inputs.append(TaskRef(one.key))
    return inputs

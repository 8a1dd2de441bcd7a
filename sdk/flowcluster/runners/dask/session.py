"""The session of one flow run on a Dask cluster: it sends task runs, handles messages and fetches results."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import distributed

from flowcluster import states
from flowcluster._output import logs
from flowcluster._util import guarding, texts
from flowcluster.errors import ClusterLost
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.dask.annotations import annotations_for
from flowcluster.runners.dask.batching import SubmitBatcher
from flowcluster.runners.dask.code import CodeRegistry
from flowcluster.runners.dask.fetching import ResultFetcher
from flowcluster.runners.dask.final_states import LOSSES, Failure, final_state
from flowcluster.runners.dask.messages import (
    Cancelled,
    Finished,
    Message,
    Outcome,
    RunOver,
    SchedulerGone,
    ShareChanged,
    Started,
)
from flowcluster.runners.dask.registration import close_session, open_session
from flowcluster.runners.dask.result import DaskResult, PendingTask
from flowcluster.runners.dask.scheduler_plugin import ID_LENGTH, ID_MARK
from flowcluster.runners.dask.stream import MessageReader
from flowcluster.runners.failure import TaskFailure, left_behind, lost_with
from flowcluster.runners.sharing import Share
from flowcluster.states import State

logger = logging.getLogger("flowcluster.task_runner.dask")


class DaskSession:
    """Sends a flow run's tasks to a cluster. It closes neither the client nor the cluster.

    Args:
        client: connected to the scheduler.
        address: of the scheduler.
        runner_on_worker: makes, on a worker, the runner for runs that a task submits.
        cause: returns why the cluster was lost, once the driver knows it.
        find_cause: queries whether the cluster is being deleted now, and why. The session calls it when a worker or the
            scheduler was lost, which can be the first sign of that.
        is_nested: whether this is the session of a runner that `runner_on_worker` made, on a worker.
        run: UID of the session's FlowRun on a shared cluster.

    Attributes:
        client: connected to the scheduler at `address`.
        id: suffix of the keys of all task runs, so that flow runs on one cluster have different keys.
        topic: under which workers send log lines of this flow run. It is the client's own topic: the scheduler deletes
            its events some time after the client has disconnected, but never those of another topic.
        share: the FlowRun's share of a shared cluster.
        share_changed: called in a thread of the session after `share` has changed. The runner sets it.
    """

    def __init__(
        self,
        client: Any,
        address: str,
        runner_on_worker: Callable[[], TaskRunner],
        cause: Callable[[], ClusterLost | None] = lambda: None,
        find_cause: Callable[[], ClusterLost | None] = lambda: None,
        is_nested: bool = False,
        run: str | None = None,
    ) -> None:
        self.client = client
        self.address = address
        self._cause, self._find_cause = cause, find_cause
        self._is_nested, self._run = is_nested, run
        self._over: ClusterLost | None = None
        self.id = ID_MARK + os.urandom(ID_LENGTH).hex()[: ID_LENGTH - len(ID_MARK)]
        self.topic: str = client.id
        self._stream = client.scheduler_comm
        self.share_changed: Callable[[], None] = lambda: None
        self.share = open_session(client, self.id, not is_nested, run)
        self._numbers = itertools.count()
        self._code = CodeRegistry(client, self.id, None if is_nested else self.topic, runner_on_worker)
        self._pending: dict[str, PendingTask] = {}
        self._fetcher = ResultFetcher(client)
        self._closed = False
        self._batcher = SubmitBatcher(client, self._pending, self._not_sent, is_direct=is_nested)
        self._reader = MessageReader(client, self.id, self._handle)
        if not is_nested:
            client.subscribe_topic(self.topic, self._replay)
        self._watch_scheduler()

    def _watch_scheduler(self) -> None:
        # A future without a task: only the end of such a future shows that the client has lost its scheduler, or that
        # the scheduler was restarted.
        self._presence = distributed.Future(self._new_key("presence"), self.client)
        self._presence.add_done_callback(lambda _: self._reader.put([SchedulerGone()]))

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send a call to the scheduler. `done` gets its final state, in a thread of the session.

        Raises:
            ClusterLost: the cluster was lost earlier.

        Exceptions from pickling the function or its arguments are raised, too.
        """
        if lost := self.lost():
            raise lost
        result = DaskResult(self, call.info.name, self._new_key(call.key))
        task = PendingTask(result, self._code.name_of(call), call, annotations_for(call, self.share), done)
        self._pending[result.key] = task
        self._batcher.put(task)
        return result

    def _new_key(self, stem: str) -> str:
        # Each execution has a key of its own: a worker can still execute one that was abandoned.
        return f"{texts.as_name(stem)}-{next(self._numbers)}-{self.id}"

    def _handle(self, messages: list[Message]) -> None:
        """Handle messages in the order in which they were sent."""
        cancelled, together = False, set()
        for message in messages:
            if isinstance(message, Cancelled):
                cancelled = True
                if message.reason == "lost dependencies":
                    together.add(message.key)
            elif isinstance(message, SchedulerGone):
                self._all_lost()
                if not self._closed and not self.lost():
                    self._watch_scheduler()
            elif isinstance(message, RunOver):
                self._over = ClusterLost(f"The FlowRun {self._run} of this session is over.")
                self._all_lost()
            elif isinstance(message, ShareChanged):
                self.share = Share(*message)
                self.share_changed()
            elif isinstance(message, Started):
                if task := self._pending.get(message.key):
                    task.has_begun = True
                    task.started()
            elif task := self._pending.pop(message.key, None):
                if isinstance(message, Finished):
                    self._end(task, self._finished_state(task.result, message))
                else:
                    self._fail(task, self._failure_state(message))
        if cancelled:
            self._send_again(together)

    def _fail(self, task: PendingTask, state: State) -> None:
        task.result.set_failure(state)
        self._end(task, state)

    def _end(self, task: PendingTask, state: State) -> None:
        if self._closed:
            return
        try:
            task.done(state)
        except BaseException as error:
            name = task.result.name
            guarding.quietly(logger.error, "The end of task run '%s' could not be handled:", name, exc_info=error)

    def _finished_state(self, result: DaskResult, message: Finished) -> State:
        """Return the final state of a run whose function has ended."""
        result.worker = sys.intern(message.worker)
        result.started_at, result.ended_at, result.nbytes = message.began, message.ended, message.nbytes
        outcome = Outcome(*message.outcome or ())
        if outcome.data is not None:
            result.set_data(outcome.data)
        else:
            self._fetcher.add(result)
        if not outcome.is_failure:
            return states.completed(result, name=None if outcome.name is None else texts.from_bytes(outcome.name))
        try:
            failure: TaskFailure = result.fetch()
            return failure.state()
        except BaseException as error:
            return states.failed(
                f"Task run failed, and its error could not be fetched: {states.describe(error)}", error
            )

    def _failure_state(self, message: Failure) -> State:
        """Return the final state of a run whose function did not end."""
        if lost := self.lost() or (self._find_cause() if isinstance(message, LOSSES) else None):
            return states.crashed(f"Task run lost its cluster: {lost}", lost)
        return final_state(message)

    def _not_sent(self, tasks: list[PendingTask], error: Exception) -> None:
        """End runs that could not be sent."""
        state = states.crashed(f"Task run could not be submitted: {states.describe(error)}", error)
        for task in tasks:
            if self._pending.pop(task.result.key, None):
                self._fail(task, state)

    def _all_lost(self) -> None:
        """End all runs: the scheduler is lost or was restarted, so it sends no more messages about them."""
        for task in list(self._pending.values()):
            if self._pending.pop(task.result.key, None):
                self._fail(task, self._failure_state(SchedulerGone()))

    def _send_again(self, together: set[str]) -> None:
        """Send runs again that the scheduler cancelled before they started, because a result that they need was lost.

        The session sends them in the order of submission, because one of them can need another one's result.

        Args:
            together: keys that the scheduler cancelled only because they were in one graph with such a run.
        """
        for task in list(self._pending.values()):
            result = task.result
            if result.future is None or not result.future.cancelled():
                continue
            if task.has_begun and not self.lost():
                continue  # the plugin sends a message about its end later
            if not self._pending.pop(result.key, None):
                continue
            changed = [one for one, key in task.by_key if one.data is not None or one.is_gone or one.key != key]
            missing = [one.name for one in changed if one.is_gone]
            if lost := self.lost():
                self._fail(task, states.crashed(f"Task run lost its cluster: {lost}", lost))
            elif missing:
                self._fail(task, states.crashed(str(lost_with("worker", missing[0]))))
            elif changed or result.key in together:
                result.future = None
                result.key = self._new_key(result.key.rsplit("-", 2)[0])
                self._pending[result.key] = task
                self._batcher.put(task)
            else:
                self._fail(task, states.crashed("Task run was cancelled on the cluster by another client."))

    def cancel(self, result: DaskResult) -> None:
        """Cancel a run. A function that was called continues, and its result is ignored."""
        task = self._pending.pop(result.key, None)
        if task is None:
            return
        future = result.future
        self._fail(task, states.cancelled("Task run was cancelled."))
        if future is not None and not self.lost():
            self.client.cancel([future], force=True)

    def fetch(self, result: DaskResult) -> None:
        """Fetch a result, together with other small ones.

        Raises:
            ResultGone: the result does not exist any more.
            ClusterLost: the cluster was lost.

        Exceptions from unpickling the result are raised, too.
        """
        if self._closed:
            raise left_behind(result.name)
        try:
            self._fetcher.fetch(result)
        except Exception as error:
            if lost := self.lost():
                raise lost from error
            raise

    def lost(self) -> ClusterLost | None:
        """Return the loss of the scheduler since the session started, as an exception to raise; None without a loss.

        A client that has connected again has lost its scheduler, too: the scheduler that it is connected to now has no
        tasks of the run.
        """
        if self._closed:
            return None
        if known := self._cause() or self._over:
            return known
        if self.client.status == "running" and self.client.scheduler_comm is self._stream:
            return None
        # This process can observe the end of the connection before the cause.
        return self._find_cause() or ClusterLost(
            f"The Dask scheduler at {self.address} was lost while the flow ran, with all task runs and results on it."
        )

    def close(self, cancel: bool) -> None:
        """End the session. With `cancel`, cancel the runs that have not ended."""
        lost = self.lost()
        self._closed = True
        running = [one.result.future for one in self._pending.values() if one.result.future is not None]
        self._pending.clear()
        self._reader.close()
        if lost:
            return
        if cancel and running:
            self.client.cancel(running, force=True)
        if self._is_nested:
            close_session(self.client, self.id)
        else:
            self.client.unsubscribe_topic(self.topic)

    def _replay(self, event: tuple[float, dict[str, Any]]) -> None:
        # The scheduler also logs events about the client under this topic.
        if "levelno" in event[1]:
            logs.replay(event[1], self._code.onward)

"""One flow run's use of a Dask cluster: sends task runs, learns of their ends, fetches results."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import dask
import distributed

from flowcluster import guarding, logs, states, texts
from flowcluster.errors import ClusterLost
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.dask.codes import Codes
from flowcluster.runners.dask.fetching import Fetching
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
from flowcluster.runners.dask.plugin import ID_LENGTH, ID_MARK
from flowcluster.runners.dask.registration import close_session, open_session
from flowcluster.runners.dask.result import DaskResult, Submission
from flowcluster.runners.dask.sending import Sending
from flowcluster.runners.dask.stream import MessageReader
from flowcluster.runners.failure import TaskFailure, left_behind, lost_with
from flowcluster.runners.sharing import Share
from flowcluster.states import State

logger = logging.getLogger("flowcluster.task_runner.dask")


class DaskSession:
    """Owns the flow run's traffic with the cluster, not the client and not the cluster.

    Args:
        client, address: as below.
        runner_on_worker: makes, on a worker, the runner for what a task submits itself.
        cause: returns why the cluster was lost, once the driver knows it.
        find_cause: queries whether the cluster is being lost now, and why; called when a worker or the scheduler was
            lost, which can be the first sign of that.
        is_nested: whether this is such a runner's session, on a worker.
        run: UID of the run on a shared cluster that the session is of.

    Attributes:
        client: connected to the scheduler at `address`.
        id: ends the key of every task run, so that flow runs which share a cluster never meet.
        topic: under which workers send log lines of this flow run. That of the client: the scheduler forgets
            its events some time after the client has left, and those of a topic of our own never.
        share: what the run can use of a shared cluster.
        share_changed: is called, on a thread of the session, when that has changed.
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
        self._codes = Codes(client, self.id, None if is_nested else self.topic, runner_on_worker)
        self._running: dict[str, Submission] = {}
        self._fetching = Fetching(client)
        self._closed = False
        self._sending = Sending(client, self._running, self._not_sent, at_once=is_nested)
        self._reader = MessageReader(client, self.id, self._handle)
        if not is_nested:
            client.subscribe_topic(self.topic, self._replay)
        self._watch_scheduler()

    def _watch_scheduler(self) -> None:
        # A future without a task: a client reports only by the end of such a future that it has lost its scheduler, or
        # that the scheduler was restarted.
        self._presence = distributed.Future(self._new_key("presence"), self.client)
        self._presence.add_done_callback(lambda _: self._reader.put([SchedulerGone()]))

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send a call to the scheduler; `done` gets its final state, on a thread of the session.

        Raises `ClusterLost`, and whatever pickling the function or its arguments raises.
        """
        if lost := self.lost():
            raise lost
        result = DaskResult(self, call.info.name, self._new_key(call.key))
        submission = Submission(result, self._codes.name_of(call), call, _annotations(call, self.share), done)
        self._running[result.key] = submission
        self._sending.put(submission)
        return result

    def _new_key(self, stem: str) -> str:
        # Each execution has a key of its own: a worker may still be busy with one that was given up.
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
                self._over = ClusterLost(f"The FlowRun {self._run} that this is part of is over.")
                self._all_lost()
            elif isinstance(message, ShareChanged):
                self.share = Share(*message)
                self.share_changed()
            elif isinstance(message, Started):
                if submission := self._running.get(message.key):
                    submission.has_begun = True
                    submission.started()
            elif submission := self._running.pop(message.key, None):
                if isinstance(message, Finished):
                    self._end(submission, self._finished(submission.result, message))
                else:
                    self._fail(submission, self._failed(message))
        if cancelled:
            self._send_again(together)

    def _fail(self, submission: Submission, state: State) -> None:
        submission.result.fail(state)
        self._end(submission, state)

    def _end(self, submission: Submission, state: State) -> None:
        if self._closed:
            return
        try:
            submission.done(state)
        except BaseException as error:
            name = submission.result.name
            guarding.quietly(logger.error, "The end of task run '%s' could not be handled:", name, exc_info=error)

    def _finished(self, result: DaskResult, message: Finished) -> State:
        """Return the final state of a run whose function has ended."""
        result.worker = sys.intern(message.worker)
        result.started_at, result.ended_at, result.nbytes = message.began, message.ended, message.nbytes
        outcome = Outcome(*message.outcome or ())
        if outcome.data is not None:
            result.leave(outcome.data)
        else:
            self._fetching.ready(result)
        if not outcome.is_failure:
            return states.completed(result, name=None if outcome.name is None else texts.from_bytes(outcome.name))
        try:
            failure: TaskFailure = result.fetch()
            return failure.state()
        except BaseException as error:
            return states.failed(f"Task run failed, and why could not be fetched: {states.describe(error)}", error)

    def _failed(self, message: Failure) -> State:
        """Return the final state of a run that did not reach its end."""
        if lost := self.lost() or (self._find_cause() if isinstance(message, LOSSES) else None):
            return states.crashed(f"Task run lost its cluster: {lost}", lost)
        return final_state(message)

    def _not_sent(self, submissions: list[Submission], error: Exception) -> None:
        """What was to be sent together could not be."""
        state = states.crashed(f"Task run could not be submitted: {states.describe(error)}", error)
        for submission in submissions:
            if self._running.pop(submission.result.key, None):
                self._fail(submission, state)

    def _all_lost(self) -> None:
        """End all runs: the scheduler is gone, or has been emptied, so no message about them will come."""
        for submission in list(self._running.values()):
            if self._running.pop(submission.result.key, None):
                self._fail(submission, self._failed(SchedulerGone()))

    def _send_again(self, together: set[str]) -> None:
        """Send what was cancelled on the cluster before it began, because a result that it needs was lost.

        In the order of submission, as one of them may need another one's result. `together` are keys that
        were cancelled only because they were sent together with such a run.
        """
        for submission in list(self._running.values()):
            result = submission.result
            if result.future is None or not result.future.cancelled():
                continue
            if submission.has_begun and not self.lost():
                continue  # the plugin's message about its end is still to come
            if not self._running.pop(result.key, None):
                continue
            changed = [one for one, key in submission.by_key if one.data is not None or one.is_gone or one.key != key]
            missing = [one.name for one in changed if one.is_gone]
            if lost := self.lost():
                self._fail(submission, states.crashed(f"Task run lost its cluster: {lost}", lost))
            elif missing:
                self._fail(submission, states.crashed(str(lost_with("worker", missing[0]))))
            elif changed or result.key in together:
                result.future = None
                result.key = self._new_key(result.key.rsplit("-", 2)[0])
                self._running[result.key] = submission
                self._sending.put(submission)
            else:
                self._fail(submission, states.crashed("Task run was cancelled on the cluster by somebody else."))

    def cancel(self, result: DaskResult) -> None:
        """Take a run back. If it has begun it goes on, and nobody waits for it."""
        submission = self._running.pop(result.key, None)
        if submission is None:
            return
        future = result.future
        self._fail(submission, states.cancelled("Task run was cancelled."))
        if future is not None and not self.lost():
            self.client.cancel([future], force=True)

    def fetch(self, result: DaskResult) -> None:
        """Bring a result here, and smaller ones that are ready with it.

        Raises `ResultGone` or `ClusterLost`, or whatever unpickling the result raises.
        """
        if self._closed:
            raise left_behind(result.name)
        try:
            self._fetching.fetch(result)
        except Exception as error:
            if lost := self.lost():
                raise lost from error
            raise

    def lost(self) -> ClusterLost | None:
        """Return that the scheduler went away since the start, as an exception to be raised; None if it did not.

        A client that has connected again counts as well: the scheduler that it talks to now has nothing of the run.
        """
        if self._closed:
            return None
        if known := self._cause() or self._over:
            return known
        if self.client.status == "running" and self.client.scheduler_comm is self._stream:
            return None
        # The end of the connection can reach this process before the cause does.
        return self._find_cause() or ClusterLost(
            f"The Dask scheduler at {self.address} went away while the flow ran; what ran or was kept there is gone."
        )

    def close(self, cancel: bool) -> None:
        """Stop listening; with `cancel` take back what still runs."""
        lost = self.lost()
        self._closed = True
        running = [one.result.future for one in self._running.values() if one.result.future is not None]
        self._running.clear()
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
        # The scheduler itself has something to tell about the client, too.
        if "levelno" in event[1]:
            logs.replay(event[1], self._codes.onward)


def _annotations(call: TaskCall, share: Share) -> dict[str, Any]:
    annotations = dict(dask.get_annotations())
    if share.priority is not None:
        annotations["priority"] = share.ranked(annotations.get("priority") or 0)
    # Retries are the engine's business: Dask would only repeat what never gets to the function.
    annotations.pop("retries", None)
    if resources := call.shared.spec.resources:
        annotations["resources"] = {**resources, **annotations.get("resources", {})}
    if (text := texts.first_not_utf8(annotations)) is not None:
        # The scheduler would close its connection to the worker that it sends them to.
        raise ValueError(f"Dask cannot send annotations with {text!r}, which has a character that UTF-8 does not have.")
    return annotations

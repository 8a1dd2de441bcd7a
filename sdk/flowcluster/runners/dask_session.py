"""One flow run's use of a Dask cluster: sends task runs, learns of their ends, fetches results."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import dask
import distributed

from .. import logs, pickling, states
from ..errors import ClusterLost, ResultGone
from ..states import State
from .base import SharedPart, TaskCall, TaskRunner
from .dask_news import News
from .dask_plugin import ID_LENGTH, ID_MARK
from .dask_registration import close_session, keep_code, open_session
from .dask_result import DaskResult, Submission
from .dask_sending import Sending
from .failure import TaskFailure

logger = logging.getLogger("flowcluster.task_runner.dask")

# Results up to the first size are fetched together with one that is asked for, up to the second in
# total: a round trip costs more than they do.
_TOGETHER, _TOTAL = 65_536, 4_000_000


class DaskSession:
    """Owns the flow run's traffic with the cluster, not the client and not the cluster.

    Args:
        client, address: as below.
        runner_on_worker: makes, on a worker, the runner for what a task submits itself.
        is_nested: whether this is such a runner's session, on a worker.

    Attributes:
        client: connected to the scheduler at `address`.
        id: ends the key of every task run, so that flow runs which share a cluster never meet.
        topic: under which workers send log lines of this flow run. That of the client: the scheduler forgets
            its events some time after the client has left, and those of a topic of our own never.
    """

    def __init__(
        self, client: Any, address: str, runner_on_worker: Callable[[], TaskRunner], is_nested: bool = False
    ) -> None:
        self.client = client
        self.address = address
        self._runner_on_worker = runner_on_worker
        self._is_nested = is_nested
        self.id = ID_MARK + os.urandom(ID_LENGTH).hex()[: ID_LENGTH - len(ID_MARK)]
        self.topic: str = client.id
        self._stream = client.scheduler_comm
        open_session(client, self.id, is_first=not is_nested)
        self._numbers = itertools.count()
        self._codes: weakref.WeakKeyDictionary[SharedPart, str] = weakref.WeakKeyDictionary()
        self._kept: set[str] = set()
        self._lock = threading.Lock()
        self._running: dict[str, Submission] = {}
        self._unfetched: weakref.WeakSet[DaskResult] = weakref.WeakSet()
        self._closed = False
        self._sending = Sending(client, self._running, self._not_sent, at_once=is_nested)
        self._news = News(client, self.id, self._learn)
        if not is_nested:
            client.subscribe_topic(self.topic, self._replay)
        self._watch_scheduler()

    def _watch_scheduler(self) -> None:
        # A future that nobody will ever settle: its end is the only thing by which a client tells that it
        # lost its scheduler, or that this was restarted.
        self._presence = distributed.Future(self._new_key("presence"), self.client)
        self._presence.add_done_callback(lambda _: self._news.put([["gone", ""]]))

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send a call to the scheduler; `done` gets its final state, on a thread of the session.

        Raises `ClusterLost`, and whatever pickling the function or its arguments raises.
        """
        if lost := self.lost():
            raise lost
        result = DaskResult(self, call.info.name, self._new_key(call.key))
        submission = Submission(result, self._code(call), call, _annotations(call), done)
        self._running[result.key] = submission
        self._sending.put(submission)
        return result

    def _new_key(self, stem: str) -> str:
        # Each execution has a key of its own: a worker may still be busy with one that was given up.
        return f"{stem}-{next(self._numbers)}-{self.id}"

    def _code(self, call: TaskCall) -> str:
        """The name under which workers get what all runs of the task have in common; it is sent once."""
        name = self._codes.get(call.shared)
        if name is not None:
            return name
        # Flow functions submit, and so do threads in which an upstream run ends.
        with self._lock:
            if call.shared not in self._codes:
                if not self._is_nested:
                    call.shared.topic = self.topic
                call.shared.runner_on_worker = self._runner_on_worker
                code = pickling.dumps((call.body, call.shared))
                # Tasks that submit the same have each a part of their own, with the same content.
                name = f"{hashlib.blake2b(code, digest_size=8).hexdigest()}-{self.id}"
                if name not in self._kept:
                    keep_code(self.client, name, code)
                    self._kept.add(name)
                self._codes[call.shared] = name
            return self._codes[call.shared]

    def _learn(self, news: list[list[Any]]) -> None:
        """Deal with what the scheduler told, in order."""
        cancelled, together = False, set()
        for kind, key, *rest in news:
            if kind == "cancelled":
                cancelled = True
                if rest[0] == "lost dependencies":
                    together.add(key)
            elif kind == "gone":
                self._all_lost()
                if not self._closed and not self.lost():
                    self._watch_scheduler()
            elif kind == "started":
                if submission := self._running.get(key):
                    submission.has_begun = True
                    submission.started()
            elif submission := self._running.pop(key, None):
                self._conclude(submission, kind, rest)
        if cancelled:
            self._send_again(together)

    def _conclude(self, submission: Submission, kind: str, rest: list[Any]) -> None:
        result = submission.result
        if kind == "finished":
            self._end(submission, self._finished(result, *rest))
        else:
            self._fail(submission, self._not_finished(kind, *rest))

    def _fail(self, submission: Submission, state: State) -> None:
        submission.result.fail(state)
        self._end(submission, state)

    def _end(self, submission: Submission, state: State) -> None:
        if self._closed:
            return
        try:
            submission.done(state)
        except Exception:
            logger.exception("The end of task run '%s' could not be dealt with:", submission.result.name)

    def _finished(
        self, result: DaskResult, worker: str, began: float, ended: float, nbytes: int, outcome: list[Any] | None
    ) -> State:
        result.worker = sys.intern(worker)
        result.started_at, result.ended_at, result.nbytes = began, ended, nbytes
        is_failure, data, name = outcome or (False, None, None)
        if data is not None:
            result.leave(data)
        elif nbytes <= _TOGETHER:
            with self._lock:
                self._unfetched.add(result)
        if not is_failure:
            return states.completed(result, name=name)
        try:
            failure: TaskFailure = result.fetch()
            return failure.state()
        except Exception as error:
            return states.failed(f"Task run failed, and why could not be fetched: {states.describe(error)}", error)

    def _not_finished(self, kind: str, *rest: Any) -> State:
        """The final state of a run that did not come to its end."""
        if lost := self.lost():
            return states.crashed(f"Task run lost its cluster: {lost}", lost)
        if kind == "worker lost":
            return states.crashed(
                f"Task run lost its worker {rest[0]}: that went away while the task ran. If nobody stopped it, it may "
                "have run out of memory; its log tells more."
            )
        if kind == "inputs lost":
            return states.crashed(f"Task run was broken off at {rest[0]}: the worker that had its input was lost.")
        if kind == "no such worker":
            return states.failed(_unmet(*rest))
        if kind == "erred":
            _, error, _ = distributed.core.clean_exception(rest[1])
            return states.crashed(f"Dask gave the task run up: {states.describe(error)}", error)
        return states.crashed("Task run was cancelled when the cluster was restarted.")

    def _not_sent(self, submissions: list[Submission], error: Exception) -> None:
        """What was to be sent together could not be."""
        state = states.crashed(f"Task run could not be submitted: {states.describe(error)}", error)
        for submission in submissions:
            if self._running.pop(submission.result.key, None):
                self._fail(submission, state)

    def _all_lost(self) -> None:
        """The scheduler is gone, or has been emptied: nothing will be told any more of what it had."""
        for submission in list(self._running.values()):
            if self._running.pop(submission.result.key, None):
                state = self._not_finished("cancelled")
                self._fail(submission, state)

    def _send_again(self, together: set[str]) -> None:
        """Send what was cancelled on the cluster before it began, because a result that it needs was lost.

        In the order of submission, as one of them may need another one's result. `together` are keys that
        were cancelled only because they were sent together with such a run.
        """
        for submission in list(self._running.values()):
            result = submission.result
            if result.future is None or not result.future.cancelled() or not self._running.pop(result.key, None):
                continue
            changed = [one for one, key in submission.by_key if one.data is not None or one.is_gone or one.key != key]
            gone = [one.name for one in changed if one.is_gone]
            if lost := self.lost():
                self._fail(submission, states.crashed(f"Task run lost its cluster: {lost}", lost))
            elif gone:
                self._fail(submission, states.crashed(_gone(gone[0])))
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
            raise ResultGone(
                f"The result of task run '{result.name}' went with the run's cluster: return the future from the "
                "flow, or call its result() in the flow."
            )
        together = self._small_results(result)
        try:
            try:
                values = self.client.gather([one.future for one in together])
            except Exception:
                # One of the others may be to blame, which nobody asked for.
                values = [self.client.gather(result.future)]
        except Exception as error:
            if lost := self.lost():
                raise lost from error
            if result.is_gone:
                raise ResultGone(_gone(result.name)) from error
            raise
        for one, value in zip(together, values, strict=False):
            one.keep(value)

    def _small_results(self, result: DaskResult) -> list[DaskResult]:
        """The result and others; these will not be tried again."""
        together, size = [result], 0
        with self._lock:
            self._unfetched.discard(result)
            if result.nbytes <= _TOGETHER:
                while self._unfetched and size < _TOTAL:
                    one = self._unfetched.pop()
                    together.append(one)
                    size += one.nbytes
        return together

    def lost(self) -> ClusterLost | None:
        """That the scheduler went away since the start, as an exception to be raised.

        A client that was connected anew counts as well: what it talks to now is empty.
        """
        if self._closed or (self.client.status == "running" and self.client.scheduler_comm is self._stream):
            return None
        return ClusterLost(
            f"The Dask scheduler at {self.address} went away while the flow ran; what ran or was kept there is gone."
        )

    def close(self, cancel: bool) -> None:
        """Stop listening; with `cancel` take back what still runs."""
        lost = self.lost()
        self._closed = True
        running = [one.result.future for one in self._running.values() if one.result.future is not None]
        self._running.clear()
        self._news.close()
        if lost:
            return
        if cancel and running:
            self.client.cancel(running, force=True)
        if self._is_nested:
            close_session(self.client, self.id)
        else:
            self.client.unsubscribe_topic(self.topic)

    @staticmethod
    def _replay(event: tuple[float, dict[str, Any]]) -> None:
        # The scheduler itself has something to tell about the client, too.
        if "levelno" in event[1]:
            logs.replay(event[1])


def _annotations(call: TaskCall) -> dict[str, Any]:
    annotations = dict(dask.get_annotations())
    # Retries are the engine's business: Dask would only repeat what never gets to the function.
    annotations.pop("retries", None)
    if resources := call.shared.spec.resources:
        annotations["resources"] = {**resources, **annotations.get("resources", {})}
    return annotations


def _gone(name: str) -> str:
    return (
        f"The result of task run '{name}' was lost with the worker that had it. The run is not repeated, as it may "
        "have done more than returning a result. Return less, or store large results where they outlive a worker."
    )


def _unmet(asked: dict[str, float], offers: dict[str, dict[str, float]]) -> str:
    wanted = ", ".join(f"{need:g} {name}" for name, need in asked.items())
    offered = "; ".join(
        f"{worker}: {', '.join(f'{have:g} {name}' for name, have in resources.items()) or 'none'}"
        for worker, resources in offers.items()
    )
    return (
        f"No worker of the cluster can run this task: it asks for resources {wanted}, and the workers offer {offered}. "
        "Ask for less, or start workers with these resources."
    )

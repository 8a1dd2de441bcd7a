"""One flow run's use of a Dask cluster: sends calls, notices their ends, fetches results."""

from __future__ import annotations

import logging
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .. import logs, pickling, states
from ..errors import ClusterLost, ResultGone
from ..states import Remote, State
from . import remote
from .base import SharedPart, TaskCall
from .failure import TaskFailure

logger = logging.getLogger("flowcluster.task_runner.dask")

# Results up to this size are fetched together with one that is asked for: the round trip costs more
# than they do. At most so many at a time.
_SMALL, _TOGETHER = 32_768, 1_000
# Code above this size is sent once and kept by the workers, instead of with every run.
_LARGE_CODE = 16_384

_PLAIN = frozenset({int, str, float, bool, bytes, type(None)})


class DaskResult(Remote):
    """A task run on the cluster, and later its result, which stays there until it is fetched."""

    __slots__ = ("__weakref__", "_has_value", "_value", "future", "name", "session")

    def __init__(self, session: DaskSession, name: str, future: Any) -> None:
        self.session = session
        self.name = name
        self.future = future
        self._has_value = False
        self._value: Any = None

    def fetch(self) -> Any:
        """Bring the result here, once. Raises `ResultGone` when the flow run is over."""
        if not self._has_value:
            self.session.fetch(self)
        return self._value

    def keep(self, value: Any) -> None:
        """Remember the value; the cluster may forget it."""
        self._value = value
        self._has_value = True

    @property
    def is_here(self) -> bool:
        """Whether the value was fetched."""
        return self._has_value


class DaskSession:
    """Owns the flow run's traffic with the cluster, not the client and not the cluster."""

    def __init__(self, client: Any, address: str) -> None:
        self.client = client
        self.address = address
        # Ends every key, so that flow runs which share a cluster never meet.
        self.id = os.urandom(8).hex()
        self._stream = client.scheduler_comm
        self._codes: dict[SharedPart, Any] = {}
        self._code_lock = threading.Lock()
        self._lock = threading.Lock()
        self._running: set[DaskResult] = set()
        self._unfetched: weakref.WeakSet[DaskResult] = weakref.WeakSet()
        self._closed = False
        client.subscribe_topic(self.topic, self._replay)

    @property
    def topic(self) -> str:
        """Under which workers send log lines of this run.

        That of the client: the scheduler forgets its events some time after the client has left, and
        those of a topic of our own never.
        """
        name: str = self.client.id
        return name

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send a call to the scheduler; `done` gets its final state, on a thread of the client.

        Raises `ClusterLost`, and whatever pickling the function or its arguments raises.
        """
        if lost := self.lost():
            raise lost
        code = self._code(call)
        arguments = _dump_arguments(call.args, call.kwargs)
        future = self.client.submit(
            remote.execute,
            code,
            call.info,
            arguments,
            *(upstream.future for upstream in call.upstream),
            key=f"{call.key}-{call.info.attempt}-{self.id}",
            pure=False,
        )
        result = DaskResult(self, call.info.name, future)
        with self._lock:
            self._running.add(result)
        future.add_done_callback(lambda _: self._ended(result, done))
        return result

    def _code(self, call: TaskCall) -> Any:
        code = self._codes.get(call.shared)
        if code is not None:
            return code
        # Flow functions submit, and so do threads in which an upstream run ends.
        with self._code_lock:
            if call.shared not in self._codes:
                call.shared.topic = self.topic
                code = pickling.dumps((call.body, call.shared))
                if len(code) > _LARGE_CODE:
                    key = f"{call.shared.spec.name}-code-{len(self._codes)}-{self.id}"
                    code = self.client.submit(bytes, code, key=key, pure=False)
                self._codes[call.shared] = code
            return self._codes[call.shared]

    def _ended(self, result: DaskResult, done: Callable[[State], None]) -> None:
        with self._lock:
            if self._closed:
                return
            self._running.discard(result)
        try:
            state = self._final_state(result)
        except Exception as error:
            state = self._lost_state(error)
        done(state)

    def _final_state(self, result: DaskResult) -> State:
        future = result.future
        # "lost": it had ended, and the scheduler brings a copy of the result about again.
        if future.status in ("finished", "lost"):
            is_failure = future.type is TaskFailure
            if future.type is None:
                # The class of the result is not known here: ask where the result is.
                is_failure = self.client.submit(remote.is_failure, future, pure=False).result()
            if is_failure:
                failure: TaskFailure = self.client.gather(future)
                return failure.state()
            with self._lock:
                self._unfetched.add(result)
            return states.completed(result)
        if future.status == "error":
            return self._lost_state(future.exception())
        return self._lost_state(None)

    def _lost_state(self, error: BaseException | None) -> State:
        """The state of a run that ended for another reason than its function."""
        if lost := self.lost():
            lost.__cause__ = error
            return states.crashed(f"Task run lost its cluster: {lost}", lost)
        if error is None:
            return states.crashed("Task run was cancelled on the cluster, or its worker was lost.")
        return states.crashed(f"Task run lost its worker: {states.describe(error)}", error)

    def fetch(self, result: DaskResult) -> None:
        """Bring a result here, and small ones that are ready with it.

        Raises `ResultGone` or `ClusterLost`, or whatever unpickling the result raises.
        """
        if self._closed:
            raise ResultGone(
                f"The result of task run '{result.name}' went with the run's cluster: return the future from the "
                "flow, or call its result() in the flow."
            )
        together = self._small_results(result)
        try:
            if together:
                for one, value in zip(together, self.client.gather([one.future for one in together]), strict=True):
                    self._arrived(one, value)
            if not result.is_here:
                self._arrived(result, self.client.gather(result.future))
        except Exception as error:
            if lost := self.lost():
                raise lost from error
            if len(together) > 1:
                # One of the others may be to blame, which nobody asked for.
                self._arrived(result, self.client.gather(result.future))
                return
            raise

    def _small_results(self, result: DaskResult) -> list[DaskResult]:
        with self._lock:
            ready = [one for one in self._unfetched if one is not result]
        if not ready:
            return []
        ready = [result, *ready[: _TOGETHER - 1]]
        sizes = self.client.nbytes([one.future.key for one in ready], summary=False)
        return [one for one in ready if sizes.get(one.future.key, _SMALL + 1) <= _SMALL]

    def _arrived(self, result: DaskResult, value: Any) -> None:
        result.keep(value)
        with self._lock:
            self._unfetched.discard(result)

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
        with self._lock:
            self._closed = True
            running, self._running = self._running, set()
        if lost:
            return
        if cancel and running:
            self.client.cancel([one.future for one in running], force=True)
        self.client.unsubscribe_topic(self.topic)

    @staticmethod
    def _replay(event: tuple[float, dict[str, Any]]) -> None:
        # The scheduler itself has something to tell about the client, too.
        if "levelno" in event[1]:
            logs.replay(event[1])


def _dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    if not kwargs and all(type(value) in _PLAIN for value in args):
        return pickle.dumps((args, kwargs), protocol=5)
    return pickling.dumps((args, kwargs))

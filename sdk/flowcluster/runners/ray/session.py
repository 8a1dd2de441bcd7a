"""The session of one flow run on Ray: it sends task runs, handles their ends and fetches results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from flowcluster import states
from flowcluster.errors import ClusterLost
from flowcluster.runners import arguments
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.failure import TaskFailure, left_behind, lost_with
from flowcluster.runners.ray import reports
from flowcluster.runners.ray.completion import CompletionPoller
from flowcluster.runners.ray.connection import Connection
from flowcluster.runners.ray.functions import FunctionRegistry
from flowcluster.runners.ray.head import HeadWatch
from flowcluster.runners.ray.records import Inbox, run_key
from flowcluster.runners.ray.shares import share_of, topic_of
from flowcluster.runners.ray.stored_results import unpack
from flowcluster.runners.ray.task_run import RayResult
from flowcluster.runners.ray.waiting import sessions
from flowcluster.runners.ray.worker import dump_call
from flowcluster.states import State

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Seconds after which the session stops the worker of a cancelled run that has not ended. Ray sends the request again
#: after two seconds to a worker that did not have the run yet, and the run needs time to clean up.
_PATIENCE = 10.0

#: Seconds after which a thread that waits for a result checks whether the head still exists.
_LOOK = 2.0


class RaySession:
    """Sends a flow run's tasks to Ray. It does not close the connection.

    Args:
        connection: to Ray.
        runner_on_worker: makes, on a worker, the runner for runs that a task submits.
        run: UID of the session's FlowRun on a shared cluster.

    Attributes:
        topic: under which workers put log records of this flow run. The UID is its prefix.
        share: the FlowRun's share of a shared cluster.
        share_changed: called in a thread of the session after `share` has changed. The runner sets it.
    """

    def __init__(
        self, connection: Connection, runner_on_worker: Callable[[], TaskRunner], run: str | None = None
    ) -> None:
        self.connection = connection
        self.topic = topic_of(run)
        self._run = run
        self.share = share_of(run)
        self.share_changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        # A dict because of its order: the oldest runs come first.
        self._pending: dict[RayResult, None] = {}
        self._stopping: dict[RayResult, float] = {}
        self._poller: CompletionPoller | None = None
        self._inbox = Inbox(self.topic)
        self._functions = FunctionRegistry(
            self.topic, runner_on_worker, connection.is_fixed, connection.offers, self._inbox
        )
        self._watch = HeadWatch(connection, self._tick, self._head_is_gone)
        self._closed = False
        sessions.add(self)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> RayResult | None:
        """Send a call to Ray. `done` gets its final state, in a thread of the session.

        Raises:
            ClusterLost: the cluster was lost earlier.

        Exceptions from pickling the function or its arguments are raised, too.
        """
        if lost := self._watch.lost:
            raise lost
        with self.connection:
            function = self._functions.get(call)
            if unmet := self._functions.unmet(function):
                done(states.failed(unmet))
                return None
            data = dump_call(call.info, self.topic, arguments.dump(call))
            result = RayResult(self, call.info, function.remote, data, call.upstream, call.started, done)
            self._send(result)
        return result

    def _send(self, result: RayResult) -> None:
        self._pending[result] = None
        inputs = [one.input() for one in result.upstream]
        result.has_references = any(
            one is upstream.value for one, upstream in zip(inputs, result.upstream, strict=True)
        )
        try:
            report, result.value = result.function(result.call, *inputs)
        except BaseException:
            self._pending.pop(result, None)
            raise
        result.report = report
        (self._poller or self._begin()).expect(result)

    def _begin(self) -> CompletionPoller:
        with self._lock:
            if self._poller is None:
                self._poller = CompletionPoller(self.connection, self._ended)
                self._watch.start()
            return self._poller

    def expected(self, limit: int) -> list[Any]:
        """Return references to the reports of at most `limit` runs that have not ended."""
        return [result.report for result in islice(list(self._pending), limit) if result.report is not None]

    def _ended(self, result: RayResult, data: Any) -> None:
        if result not in self._pending:
            return
        if not isinstance(data, bytes) and any(one.crash for one in result.upstream) and not self._closed:
            # The run never started, because an input has no value. Send it again, with the failure as that input.
            self._pending.pop(result, None)
            _read_error(result)
            self._send(result)
            return
        try:
            state = self._final_state(result, data)
        except BaseException as error:
            state = states.crashed(
                f"Task run ended, but its final state could not be read: {states.describe(error)}", error
            )
        done = result.done
        result.end()
        self._pending.pop(result, None)
        self._stopping.pop(result, None)
        if not self._closed:
            done(state)

    def _final_state(self, result: RayResult, data: Any) -> State:
        if not isinstance(data, bytes):
            state = self._lost_state(result, data)
            result.crash = TaskFailure(result.name, state)
            return state
        report = reports.load(data)
        if report.records or report.batches:
            self._inbox.ended(self._key(result), report.batches, report.records)
        if report.printed and self.connection.prints:
            self.connection.prints.written(*report.printed)
        if report.failure is not None:
            return report.failure.state()
        if report.result is not None:
            result.set_data(report.result)
        return states.completed(result, name=report.name)

    def _key(self, result: RayResult) -> str:
        return run_key(self.topic, result.name, result.info.attempt)

    def _lost_state(self, result: RayResult, error: Any) -> State:
        """Return the state of a run that ended for another reason than its function."""
        import ray

        if lost := self._loss_behind(error):
            lost.__cause__ = error
            return states.crashed(f"Task run lost its cluster: {lost}", lost)
        _read_error(result)
        # Show the records that the run logged before its loss.
        self._inbox.ended(self._key(result), 1, [])
        if isinstance(error, ray.exceptions.TaskCancelledError):
            return states.cancelled("Task run was cancelled on the Ray cluster.")
        if isinstance(error, ray.exceptions.WorkerCrashedError):
            return states.crashed(
                "Task run lost its worker: the process ended while the task ran. If it was not stopped on purpose, it "
                "may have run out of memory, or a library crashed it: see the worker's log.",
                error,
            )
        cause = getattr(error, "cause", None) or error
        text = states.describe(cause).splitlines()[0]
        return states.crashed(f"Task run was lost by Ray: {text}", error)

    def _loss_behind(self, error: Any) -> ClusterLost | None:
        """Return the loss of the head that is the cause of a run's error; None if there is another cause."""
        import ray

        if self._closed:
            return None
        # A Ray client fails its calls with this error when its connection has ended. It does not connect again.
        if isinstance(error, ConnectionError) and self.connection.is_client:
            return self._watch.wait_for_loss()
        if isinstance(error, ray.exceptions.TaskCancelledError):
            return self._watch.check()
        return self._watch.check_after_crash()

    def fetch(self, result: RayResult) -> Any:
        """Return the value of a result.

        Raises:
            ResultGone: the result does not exist any more.
            ClusterLost: the head is lost.

        Exceptions from unpickling the result are raised, too.
        """
        import ray

        while True:
            if lost := self._watch.lost:
                raise lost
            with self.connection:
                if self._closed:
                    raise left_behind(result.name)
                try:
                    return unpack(ray.get(result.value, timeout=_LOOK))
                except ray.exceptions.GetTimeoutError:
                    continue  # the result is large, or Ray restores it from a lost node
                except ConnectionError as error:  # of a client that was shut down meanwhile
                    if lost := self.lost():
                        raise lost from error
                    raise
                except ray.exceptions.ObjectLostError as error:
                    raise self.lost() or lost_with("node", result.name) from error

    def cancel(self, result: RayResult) -> None:
        """Interrupt a run, or cancel it if it has not started. If it does not end soon, stop its worker.

        A run whose inputs are other runs' results is not interrupted, for the reason in `RayResult`.
        """
        import ray

        if result not in self._pending or self._watch.lost or result.has_references:
            return
        self._stopping[result] = time.monotonic() + _PATIENCE
        with self.connection:
            ray.cancel(result.value)

    def _tick(self) -> None:
        """Poll once a second: records, the share, and cancelled runs that have not ended."""
        import ray

        if self._pending and (begun := self._inbox.look()):
            for result in list(self._pending):
                if self._key(result) in begun and (started := result.started):
                    started()
        if self._run is not None and (share := share_of(self._run)) != self.share:
            self.share = share
            self.share_changed()
        now = time.monotonic()
        for result, due in list(self._stopping.items()):
            if now >= due and self._stopping.pop(result, 0.0):
                ray.cancel(result.value, force=True)

    def lost(self) -> ClusterLost | None:
        """Return the loss of the head since the session started, as an exception to raise; None without a loss."""
        return None if self._closed else self._watch.check()

    def _head_is_gone(self, lost: ClusterLost) -> None:
        for result in list(self._pending):
            self._begin().put(result, lost)
        self.connection.drop()

    def close(self, cancel: bool) -> None:
        """End the session. With `cancel`, stop the runs that have not ended."""
        import ray

        self._closed = True
        self._watch.close()
        left = list(self._pending) if cancel else list(self._stopping)
        self._pending.clear()
        if self._poller is not None:
            self._poller.close()
        if self._watch.lost is None:
            with self.connection:
                for result in left:
                    if not result.has_references:
                        ray.cancel(result.value, force=True)
                self._functions.close()


def _read_error(result: RayResult) -> None:
    """Read the error of a run: Ray logs errors that are never read."""
    import ray

    try:
        ray.get(result.value)
    except Exception:
        pass

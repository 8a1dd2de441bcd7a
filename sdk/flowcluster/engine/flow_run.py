"""The record of one flow run: its task runs, their states, and its log lines."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster import context, states
from flowcluster._output import library_logs, logs
from flowcluster._output.tracebacks import first_time
from flowcluster._util import guarding
from flowcluster.engine.in_flight import InFlightLimit
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.engine.user_calls import UserCalls
from flowcluster.errors import Terminated
from flowcluster.futures import RunFuture
from flowcluster.runners.base import TaskPayload, TaskRunner
from flowcluster.states import State, StateType, Tally


class _Execution:
    """One execution of a flow run's function. It is the key of the payloads that runs of the same task share."""


class FlowRun(context.FlowContext):
    """A flow run, from its call to its final state.

    Attributes:
        parent: the flow run whose function called this one, if any.
        runner: the run's own, opened task runner.
        state: the state of the run; final when the engine returns the run.
        tally: the states of its task runs and subflow runs, counted as they end.
        interrupt: the exception that ended the run and must be raised in its caller: SystemExit, KeyboardInterrupt,
            the cancellation of its coroutine.
        late_interrupt: such an exception after the run's end, for example in a hook. It does not change the state.
        exit: the first ``sys.exit`` of a task.
        raised: the exception that ended the run before its function returned, if there was one.
        has_started: whether the flow function was called.
        logger: for lines about the run.
        verbose: whether lines of level INFO are enabled.
        extra: attributes of all log records about the run.
    """

    runner: TaskRunner

    def __init__(
        self,
        name: str,
        flow_name: str,
        is_async: bool,
        runner: TaskRunner,
        parent: FlowRun | None = None,
        log_prints: bool | None = None,
    ) -> None:
        if log_prints is None:
            log_prints = parent.log_prints if parent else False
        super().__init__(name, flow_name, is_async, runner, log_prints)
        self.parent = parent
        self.state = states.pending()
        self.tally = Tally()
        self.interrupt: BaseException | None = None
        self.late_interrupt: BaseException | None = None
        self.exit: SystemExit | None = None
        self.raised: Exception | None = None
        self.has_started = False
        self.logger = logs.flow_logger(name, flow_name)
        self.verbose = logs.flow_runs.isEnabledFor(logging.INFO)
        # Counted over the whole tree of runs: the name of a task run is unique in it.
        self._numbers: dict[str, int] = parent._numbers if parent else {}
        self._prefix = ""
        self.extra: dict[str, Any] = {}
        # Garbage collection can call code of users, which can lead here again, in any thread that holds the lock.
        self._lock: Any = parent._lock if parent else threading.RLock()
        self._unfinished: set[RunFuture[Any]] = set()
        self._finishing = 0
        self._idle: list[Callable[[], None]] = []
        self._execution = _Execution()
        #: All runs of the tree, as long as they exist.
        self._tree: weakref.WeakSet[FlowRun] = parent._tree if parent else weakref.WeakSet()
        with self._lock:
            self._tree.add(self)
        self._in_flight = InFlightLimit(None)
        #: Calls of hooks, conditions and callbacks of the user.
        self.user_calls = UserCalls()

    def rename(self, name: str) -> None:
        """Give the run another name, before its first name is used."""
        self.name = name
        self.logger = logs.flow_logger(name, self.flow_name, **self.extra)

    def send_logs_to(self, topic: str) -> None:
        """Send all lines about the run, from any thread, to the driver of the task that called the flow."""
        self.topic = topic
        self.extra = logs.sent_to(topic)
        self.logger = logs.flow_logger(self.name, self.flow_name, **self.extra)

    def begin_again(self) -> None:
        """Prepare a retry, after all task runs of the previous execution have ended."""
        self.run_count += 1
        self.tally = Tally()
        self.raised = None
        self.state = states.running()
        self._execution = _Execution()

    def next_name(self, spec: TaskSpec) -> str:
        """Return the name of another run of a task: the task's name, its key and the next number."""
        stem = f"{spec.name}-{spec.key}"
        with self._lock:
            number = self._numbers.get(stem, 0)
            self._numbers[stem] = number + 1
        return f"{stem}-{self._prefix}{number}"

    def payload_of(self, spec: TaskSpec) -> TaskPayload:
        """Return what all runs of a task have in common: the same object each time, so that runners send it once."""
        # The task holds the payload, not the flow run. A task that the flow makes for a few runs can be garbage
        # collected after them.
        payloads = spec.payloads()
        known: TaskPayload | None = payloads.get(self._execution)
        # Several threads can call this at a time: all get the object of the first one.
        payload: TaskPayload = known or payloads.setdefault(self._execution, self._new_payload(spec))
        return payload

    def _new_payload(self, spec: TaskSpec) -> TaskPayload:
        level = int(logs.task_runs.getEffectiveLevel())  # a worker does not need the class
        payload = TaskPayload(
            spec,
            self.name,
            self.flow_name,
            context.PROCESS,
            level,
            self.logs_prints_of(spec),
            library_logs.extra_loggers(),
        )
        payload.topic = self.topic
        return payload

    def logs_prints_of(self, spec: TaskSpec) -> bool:
        """Return whether prints of a task go to the loggers of its runs."""
        return self.log_prints if spec.log_prints is None else spec.log_prints

    def fit_in_flight_limit(self) -> None:
        """Set the limit of runs in flight to the bound of the open runner, also when that changes."""
        self._in_flight.resize(self.runner.bound(self._in_flight.resize))

    def launch(self, start: Callable[[], None]) -> None:
        """Call `start`, which passes a run to the runner, when the limit of runs in flight allows it."""
        self._in_flight.enter(start)

    def release_slot(self) -> None:
        """Record that a run that `launch` started is not in flight any more."""
        self._in_flight.leave()

    def chains(self, future: RunFuture[Any]) -> bool:
        """Return whether the runner itself can wait for this future, and pass its result to another run."""
        if future.handle is None or not self.runner.chains(future.handle):
            return False
        return future.state.is_completed() if future.is_settled else future.is_firm

    def cancel(self, future: RunFuture[Any]) -> bool:
        """End a task run as cancelled. Return False if it has already ended."""
        handle = future.handle
        if not self.finish(future, states.cancelled("Task run was cancelled.")):
            return False
        if handle is not None:
            self.runner.cancel(handle)
        return True

    def track(self, future: RunFuture[Any]) -> None:
        """Add a task run that begins. The flow run does not end before it."""
        with self._lock:
            self._unfinished.add(future)

    def finish(self, future: RunFuture[Any], state: State) -> bool:
        """End a task run in this state, from any thread. Return False if it has already ended."""
        with self._lock:
            if future not in self._unfinished:
                return False
            self._unfinished.remove(future)
            self._finishing += 1
            self.tally.add(state)
        try:
            if state.type is StateType.CRASHED and self.exit is None and _is_exit(state.data):
                self.exit = state.data
            if self.verbose or not state.is_completed():
                guarding.quietly(self._log_end, future.name, state)
        finally:
            future.settle(state)
            if future.has_listeners:
                self.call_user_code(lambda: self._notify(future))
            else:
                self._has_finished()
        return True

    def call_user_code(self, function: Callable[[], None]) -> None:
        """Call `function`, which calls code of the user and must not raise, in a thread that no other run depends on.

        A runner that executes tasks in the flow's own thread uses that thread for the call, too.
        """
        if self.runner.is_inline:
            function()
        else:
            self.user_calls.submit(function)

    def _notify(self, future: RunFuture[Any]) -> None:
        try:
            future.notify()
        finally:
            self._has_finished()

    def _has_finished(self) -> None:
        with self._lock:
            self._finishing -= 1
            idle = [] if self._unfinished or self._finishing else self._idle
            if idle:
                self._idle = []
        for callback in idle:
            callback()

    def counts(self) -> context.Counts:
        """Return the counts of the run's own task runs and subflow runs, and of unfinished runs in its tree."""
        with self._lock:
            left = list(self._unfinished)
            tally = self.tally
            total, completed, failed = tally.total + len(left), tally.completed, tally.failed
            unfinished = sum(len(run._unfinished) for run in list(self._tree))
        running = self.runner.running(left) if left else 0
        return context.Counts(total, running or 0, completed, failed, unfinished)

    def unfinished_runs(self) -> list[RunFuture[Any]]:
        """Return the task runs that have not ended."""
        with self._lock:
            return list(self._unfinished)

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back when all task runs have ended, immediately if they have."""
        with self._lock:
            if self._unfinished or self._finishing:
                self._idle.append(callback)
                return
        callback()

    def count(self, state: State) -> None:
        """Count the end of a subflow run."""
        with self._lock:
            self.tally.add(state)

    def abandon(self, reason: str) -> int:
        """End all unfinished task runs as cancelled, and return their number."""
        left = self.unfinished_runs()
        for future in left:
            self.finish(future, states.cancelled(reason))
        return len(left)

    def names_of(self, task_run: str) -> dict[str, Any]:
        """Return the attributes of the engine's log records about a task run."""
        return {"task_run_name": task_run, "flow_run_name": self.name, "flow_name": self.flow_name, **self.extra}

    def _log_end(self, name: str, state: State) -> None:
        extra = self.names_of(name)
        if state.is_completed():
            # As text: a handler that keeps records must not keep results.
            logs.task_runs.info("Finished in state %s", str(state), extra=extra)
            return
        if state.is_failed() and isinstance(state.data, Exception) and first_time(state.data):
            logs.task_runs.error("Encountered exception during execution:", exc_info=state.data, extra=extra)
        logs.task_runs.error("Finished in state %s", state, extra=extra)


def _is_exit(error: Any) -> bool:
    return isinstance(error, SystemExit) and not isinstance(error, Terminated)

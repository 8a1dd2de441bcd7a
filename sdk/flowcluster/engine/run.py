"""The record of one flow run: its task runs, what became of them, and its log lines."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster import context, guarding, library_logs, logs, states
from flowcluster.engine.window import Window
from flowcluster.errors import Terminated
from flowcluster.futures import RunFuture
from flowcluster.options import TaskSpec
from flowcluster.runners.base import TaskPayload, TaskRunner
from flowcluster.runners.threads import ThreadPool
from flowcluster.states import State, StateType, Tally
from flowcluster.tracebacks import first_time

#: Threads for hooks, conditions and callbacks of one flow run, and seconds after which one that is idle ends.
_USER_THREADS, _LINGER = 64, 0.1


class _Execution:
    """One execution of a flow run's function: what all runs of a task have in common in it has this as its key."""


class FlowRun(context.FlowContext):
    """A flow run, from its call to its final state.

    Attributes:
        parent: the flow run whose function called this one, if any.
        runner: the run's own, opened task runner.
        state: how the run stands; final once the engine gives the run back.
        tally: the states of its task runs and subflow runs, counted as they end.
        interrupt: what broke the run off and has to go on to whoever called it: SystemExit,
            KeyboardInterrupt, the cancellation of its coroutine.
        late_interrupt: the same after the run's end, such as in a hook: it changes nothing about the run.
        exit: the first ``sys.exit`` of a task.
        raised: what ended the run before its function returned, if something did.
        has_started: whether the flow function was called.
        logger: for lines about the run.
        verbose: whether lines of level INFO are wanted.
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
        # Garbage collection can call code of users, which may come here again, in any thread that holds the lock.
        self._lock: Any = parent._lock if parent else threading.RLock()
        self._open: set[RunFuture[Any]] = set()
        self._closing = 0
        self._idle: list[Callable[[], None]] = []
        self._user_calls = 0
        self._after_user_calls: list[Callable[[], None]] = []
        self._execution = _Execution()
        #: All runs of the tree that are not garbage.
        self._tree: weakref.WeakSet[FlowRun] = parent._tree if parent else weakref.WeakSet()
        with self._lock:
            self._tree.add(self)
        self._window = Window(None)
        self._user_code: ThreadPool | None = None

    def rename(self, name: str) -> None:
        """Give the run another name, before it has told anybody its first one."""
        self.name = name
        self.logger = logs.flow_logger(name, self.flow_name, **self.extra)

    def send_logs_to(self, topic: str) -> None:
        """Send all lines about the run, whatever thread they come from, to the driver of the task that called it."""
        self.topic = topic
        self.extra = logs.sent_to(topic)
        self.logger = logs.flow_logger(self.name, self.flow_name, **self.extra)

    def begin_again(self) -> None:
        """Get ready for a retry, all of the last execution's task runs having ended."""
        self.run_count += 1
        self.tally = Tally()
        self.raised = None
        self.state = states.running()
        self._execution = _Execution()

    def next_name(self, spec: TaskSpec) -> str:
        """The name for one more run of a task: the task's name, its key and the next number."""
        stem = f"{spec.name}-{spec.key}"
        with self._lock:
            number = self._numbers.get(stem, 0)
            self._numbers[stem] = number + 1
        return f"{stem}-{self._prefix}{number}"

    def payload_of(self, spec: TaskSpec) -> TaskPayload:
        """Return what all runs of a task have in common: the same object each time, so that runners send it once."""
        # The task keeps it, not the flow run: a task that the flow makes for a few runs is released after them.
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
        """Whether what a task prints goes to its runs' loggers."""
        return self.log_prints if spec.log_prints is None else spec.log_prints

    def fit_window(self) -> None:
        """Give the runner, which is open, as much as it wants to have at a time, also when that changes."""
        self._window.resize(self.runner.bound(self._window.resize))

    def launch(self, start: Callable[[], None]) -> None:
        """Call `start`, which hands a run to the runner: immediately, or when the runner has less to do."""
        self._window.enter(start)

    def returned(self) -> None:
        """The runner has given back a run that `launch` handed to it."""
        self._window.leave()

    def chains(self, future: RunFuture[Any]) -> bool:
        """Whether the runner itself can wait for this future and pass its result on."""
        if future.handle is None or not self.runner.chains(future.handle):
            return False
        return future.state.is_completed() if future.is_settled else future.is_firm

    def cancel(self, future: RunFuture[Any]) -> bool:
        """End a task run as cancelled; False if it has already ended."""
        handle = future.handle
        if not self.closed(future, states.cancelled("Task run was cancelled.")):
            return False
        if handle is not None:
            self.runner.cancel(handle)
        return True

    def opened(self, future: RunFuture[Any]) -> None:
        """A task run begins; the flow run does not end before it."""
        with self._lock:
            self._open.add(future)

    def closed(self, future: RunFuture[Any], state: State) -> bool:
        """A task run ends, from any thread; False if it had ended before, which changes nothing."""
        with self._lock:
            if future not in self._open:
                return False
            self._open.remove(future)
            self._closing += 1
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
                self._has_closed()
        return True

    def _notify(self, future: RunFuture[Any]) -> None:
        try:
            future.notify()
        finally:
            self._has_closed()

    def _has_closed(self) -> None:
        with self._lock:
            self._closing -= 1
            idle = [] if self._open or self._closing else self._idle
            if idle:
                self._idle = []
        for callback in idle:
            callback()

    def call_user_code(self, function: Callable[[], None]) -> None:
        """Call `function`, which calls code of the user and must not raise, in a thread that no other run depends on.

        A runner that executes tasks in the flow's own thread gets that thread.
        """
        if self.runner.is_inline:
            function()
            return
        with self._lock:
            self._user_calls += 1
            pool = self._user_code = self._user_code or ThreadPool(_USER_THREADS, linger=_LINGER)

        def call() -> None:
            try:
                function()
            finally:
                self._user_call_ended()

        try:
            pool.submit(call)
        except RuntimeError:  # the system has no thread left
            call()

    def _user_call_ended(self) -> None:
        with self._lock:
            self._user_calls -= 1
            waiting = [] if self._user_calls else self._after_user_calls
            if waiting:
                self._after_user_calls = []
        for callback in waiting:
            callback()

    def when_user_code_ended(self, callback: Callable[[], None]) -> None:
        """Call back once no code of the user is called by `call_user_code`, immediately if none is."""
        with self._lock:
            if self._user_calls:
                self._after_user_calls.append(callback)
                return
        callback()

    def counts(self) -> context.Counts:
        """Return the run's own task runs and subflow runs by how far they are, and what its tree has not ended."""
        with self._lock:
            left = list(self._open)
            tally = self.tally
            total, completed, failed = tally.total + len(left), tally.completed, tally.failed
            unfinished = sum(len(run._open) for run in list(self._tree))
        running = self.runner.running(left) if left else 0
        return context.Counts(total, running or 0, completed, failed, unfinished)

    def open_runs(self) -> list[RunFuture[Any]]:
        """The task runs that have not ended."""
        with self._lock:
            return list(self._open)

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once no task run is open, at once if none is."""
        with self._lock:
            if self._open or self._closing:
                self._idle.append(callback)
                return
        callback()

    def count(self, state: State) -> None:
        """Count the end of a subflow run."""
        with self._lock:
            self.tally.add(state)

    def abandon(self, reason: str) -> int:
        """End all open task runs as cancelled; how many there were."""
        left = self.open_runs()
        for future in left:
            self.closed(future, states.cancelled(reason))
        return len(left)

    def names_of(self, task_run: str) -> dict[str, Any]:
        """What the engine's log records about a task run carry."""
        return {"task_run_name": task_run, "flow_run_name": self.name, "flow_name": self.flow_name, **self.extra}

    def _log_end(self, name: str, state: State) -> None:
        extra = self.names_of(name)
        if state.is_completed():
            # As text: a handler that keeps records must not keep results with them.
            logs.task_runs.info("Finished in state %s", str(state), extra=extra)
            return
        if state.is_failed() and isinstance(state.data, Exception) and first_time(state.data):
            logs.task_runs.error("Encountered exception during execution:", exc_info=state.data, extra=extra)
        logs.task_runs.error("Finished in state %s", state, extra=extra)


def _is_exit(error: Any) -> bool:
    return isinstance(error, SystemExit) and not isinstance(error, Terminated)

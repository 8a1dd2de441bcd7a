"""The record of one flow run: its task runs, what became of them, and its log lines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from .. import context, logs, states
from ..errors import Terminated
from ..futures import RunFuture
from ..options import TaskSpec
from ..runners.base import SharedPart, TaskRunner
from ..states import State, Tally


class FlowRun(context.FlowContext):
    """A flow run, from its call to its final state.

    Attributes:
        parent: the flow run whose function called this one, if any.
        runner: the run's own, opened task runner.
        state: how the run stands; final once the engine gives the run back.
        tally: the states of its task runs and subflow runs, counted as they end.
        interrupt: what broke the run off and has to go on to whoever called it: SystemExit,
            KeyboardInterrupt, the cancellation of its coroutine.
        exit: the first ``sys.exit`` of a task.
        raised: what ended the run before its function returned, if something did.
        has_started: whether the flow function was called.
        logger: for lines about the run.
        verbose: whether lines of level INFO are wanted.
    """

    runner: TaskRunner

    def __init__(
        self, name: str, flow_name: str, is_async: bool, runner: TaskRunner, parent: FlowRun | None = None
    ) -> None:
        super().__init__(name, flow_name, is_async, runner)
        self.parent = parent
        self.state = states.pending()
        self.tally = Tally()
        self.interrupt: BaseException | None = None
        self.exit: SystemExit | None = None
        self.raised: Exception | None = None
        self.has_started = False
        self.logger = logs.flow_logger(name, flow_name)
        self.verbose = logs.flow_runs.isEnabledFor(logging.INFO)
        # Counted over the whole tree of runs: the name of a task run is unique in it.
        self._numbers: dict[str, int] = parent._numbers if parent else {}
        self._lock: threading.Lock = parent._lock if parent else threading.Lock()
        self._open: set[RunFuture[Any]] = set()
        self._idle: list[Callable[[], None]] = []
        self._shared: dict[TaskSpec, SharedPart] = {}

    def next_name(self, spec: TaskSpec) -> str:
        """The name for one more run of a task: the task's name, its key and the next number."""
        stem = f"{spec.name}-{spec.key}"
        with self._lock:
            number = self._numbers.get(stem, 0)
            self._numbers[stem] = number + 1
        name = f"{stem}-{number}"
        if self.verbose:
            self.logger.info("Created task run '%s' for task '%s'", name, spec.name)
        return name

    def shared(self, spec: TaskSpec) -> SharedPart:
        """What all runs of a task have in common; the same object each time, so that runners can send it once."""
        part = self._shared.get(spec)
        if part is None:
            level = logs.task_runs.getEffectiveLevel()
            # Several threads may come here at a time; the first one's part is everybody's.
            part = self._shared.setdefault(spec, SharedPart(spec, self.name, self.flow_name, context.PROCESS, level))
        return part

    def chains(self, future: RunFuture[Any]) -> bool:
        """Whether the runner itself can wait for this future and pass its result on."""
        if future.handle is None or not self.runner.chains(future.handle):
            return False
        return not future.is_settled or future.state.is_completed()

    def opened(self, future: RunFuture[Any]) -> None:
        """A task run begins; the flow run does not end before it."""
        with self._lock:
            self._open.add(future)

    def closed(self, future: RunFuture[Any], state: State) -> None:
        """A task run ends; a second end of the same run changes nothing. From any thread."""
        with self._lock:
            if future not in self._open or future.is_settled:
                return
            self.tally.add(state)
        if self.exit is None and isinstance(state.data, SystemExit) and not isinstance(state.data, Terminated):
            self.exit = state.data
        if self.verbose or not state.is_completed():
            _log_end(future.name, state)
        future.settle(state)
        with self._lock:
            self._open.discard(future)
            idle = [] if self._open else self._idle
            if idle:
                self._idle = []
        for callback in idle:
            callback()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once no task run is open, at once if none is."""
        with self._lock:
            if self._open:
                self._idle.append(callback)
                return
        callback()

    def count(self, state: State) -> None:
        """Count the end of a subflow run."""
        with self._lock:
            self.tally.add(state)

    def abandon(self, reason: str) -> int:
        """End all open task runs as cancelled; how many there were."""
        with self._lock:
            left = list(self._open)
        for future in left:
            self.closed(future, states.cancelled(reason))
        return len(left)


def _log_end(name: str, state: State) -> None:
    extra = {"task_run_name": name}
    if state.is_completed():
        # As text: a handler that keeps records must not keep results with them.
        logs.task_runs.info("Finished in state %s", str(state), extra=extra)
        return
    if state.is_failed() and isinstance(state.data, Exception):
        logs.task_runs.error("Encountered exception during execution:", exc_info=state.data, extra=extra)
    logs.task_runs.error("Finished in state %s", state, extra=extra)

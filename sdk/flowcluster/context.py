"""The run context: the flow run or task run to which the current code belongs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from flowcluster import errors

#: Identifies this process, also for workers on other machines.
PROCESS = os.urandom(16).hex()


class RunInfo(NamedTuple):
    """One execution of a task run, in the form that a task runner sends to a worker.

    Attributes:
        name: name of the task run.
        attempt: 1 for the first execution, one more with each retry.
        tags: words that the caller attached to the run.
    """

    name: str
    attempt: int = 1
    tags: tuple[str, ...] = ()

    @property
    def run_count(self) -> int:
        """The attempt, under the name that flow runs and `get_run_context()` use."""
        return self.attempt


class Counts(NamedTuple):
    """Counts of the task runs of a flow run, by their progress.

    Attributes:
        total: runs that were created.
        running: runs that are being executed.
        completed: runs that have completed.
        failed: runs that have failed or crashed.
        unfinished: runs that have not ended, with those of subflows.
    """

    total: int
    running: int
    completed: int
    failed: int
    unfinished: int


class FlowContext:
    """A flow run, as code inside of it uses it.

    Attributes:
        name: name of the run.
        flow_name: name of the flow.
        is_async: whether the flow function is a coroutine function.
        runner: the run's task runner.
        run_count: 1 in the first execution of the run, one more with each retry.
        parameters: the parameters of the flow function, by name.
        tags: the words attached to the run.
        log_prints: whether its prints go to its logger.
        printed: the beginning of a printed line whose end was not printed yet.
        stdout: ``sys.stdout`` when the run started. If the run's code replaces ``sys.stdout`` by another stream, that
            stream gets the prints, and the logger does not.
        topic: where its log lines are sent, if a task on a worker called the flow; else None.
    """

    def __init__(self, name: str, flow_name: str, is_async: bool, runner: object, log_prints: bool = False) -> None:
        self.name = name
        self.flow_name = flow_name
        self.is_async = is_async
        self.runner = runner
        self.run_count = 1
        self.parameters: dict[str, Any] = {}
        self.tags = tags_here.get()
        self.log_prints = log_prints
        self.printed = ""
        self.stdout = sys.stdout
        self.topic: str | None = None

    def counts(self) -> Counts:
        """Return the counts of the run's task runs."""
        raise NotImplementedError


class TaskContext:
    """A task run, as code inside of it uses it, in the flow's process or on a worker.

    Attributes:
        payload: what the run has in common with other runs of the task.
        info: name, attempt and tags.
        spec: the task's options.
        flow_run_name, flow_name: names of its flow run and flow.
        flow: the flow run; None on a worker.
        topic: where the run's log lines are sent; None in the flow's process.
        level: lowest level of those lines.
        log_prints, printed, stdout: as for a flow run.
        nested: the record of the runs that the task submits; None before it submits one.
    """

    __slots__ = (
        "flow",
        "flow_name",
        "flow_run_name",
        "info",
        "level",
        "log_prints",
        "nested",
        "payload",
        "printed",
        "spec",
        "stdout",
        "topic",
    )

    def __init__(self, payload: Any, info: RunInfo, flow: FlowContext | None) -> None:
        self.payload = payload
        self.info = info
        self.spec = payload.spec
        self.flow_run_name: str = payload.flow_run_name
        self.flow_name: str = payload.flow_name
        self.flow = flow
        self.topic: str | None = payload.topic
        self.level: int = payload.level
        self.log_prints: bool = payload.log_prints
        self.printed = ""
        self.stdout = sys.stdout if flow is None else flow.stdout
        self.nested: Any = None

    @property
    def name(self) -> str:
        """Name of the task run."""
        return self.info.name

    @property
    def task_name(self) -> str:
        """Name of the task."""
        name: str = self.spec.name
        return name

    @property
    def run_count(self) -> int:
        """1 in the first execution of the run, one more with each retry."""
        return self.info.attempt

    @property
    def tags(self) -> tuple[str, ...]:
        """The words attached to the run."""
        return self.info.tags


#: Code that waits for the cluster of a flow run calls it with the current activity, as text. None without a flow run.
activity: ContextVar[Callable[[str], None] | None] = ContextVar("flowcluster_activity", default=None)

#: Words that the code around a submission attaches to the task run, by `tags`.
tags_here: ContextVar[tuple[str, ...]] = ContextVar("flowcluster_tags", default=())

#: The innermost run to which the code belongs; inside a task that is the task run.
current: ContextVar[FlowContext | TaskContext | None] = ContextVar("flowcluster_run", default=None)


def flow_run() -> FlowContext | None:
    """Return the flow run whose function is being executed; None inside a task and outside of any run."""
    run = current.get()
    return run if isinstance(run, FlowContext) else None


def flow_of_task() -> FlowContext | None:
    """Return the flow run to which the code belongs, also inside a task; None on a worker and outside of any run."""
    run = current.get()
    return run.flow if isinstance(run, TaskContext) else run


def get_run_context() -> FlowContext | TaskContext:
    """Return the current run.

    Raises:
        NoFlowRunError: no run is current.
    """
    run = current.get()
    if run is None:
        raise errors.NoFlowRunError(
            f"There is no flow run here: this works only inside a flow or a task of a flow.{hint_for_threads()}"
        )
    return run


def hint_for_threads() -> str:
    """Return how to pass the context to a thread, for error messages in threads; an empty text in the main thread."""
    if threading.current_thread() is threading.main_thread():
        return ""
    return (
        " A new thread does not inherit the run: call context = contextvars.copy_context() in the flow, and "
        "context.run(function) in the thread."
    )


def united(tags: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return both tuples as one, in order, each word once."""
    return tuple(dict.fromkeys((*tags, *more))) if more else tags


@contextmanager
def tags(*words: str) -> Iterator[None]:
    """Attach words to the task runs that are submitted or called in the block, and to the runs of flows."""
    token = tags_here.set(united(tags_here.get(), words))
    try:
        yield
    finally:
        tags_here.reset(token)

"""Which flow run or task run the code belongs to that is being executed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from flowcluster import errors

#: Identifies this process, also to workers of a cluster on other machines.
PROCESS = os.urandom(16).hex()


class RunInfo(NamedTuple):
    """One execution of a task run, as it travels to where it is carried out.

    Attributes:
        name: name of the task run.
        attempt: 1 for the first execution, one more with each retry.
        tags: words that the caller attached to it.
    """

    name: str
    attempt: int = 1
    tags: tuple[str, ...] = ()

    @property
    def run_count(self) -> int:
        """The same as `attempt`, by the name that flow runs and `get_run_context()` have for it."""
        return self.attempt


class Counts(NamedTuple):
    """Task runs of a flow run, by how far they are.

    Attributes:
        total: created.
        running: that are executed.
        completed: ended well.
        failed: ended with an error.
        unfinished: that have not ended, with those of subflows.
    """

    total: int
    running: int
    completed: int
    failed: int
    unfinished: int


class FlowContext:
    """A flow run as the code inside it sees it.

    Attributes:
        name: name of the run.
        flow_name: name of the flow.
        is_async: whether the flow function is a coroutine function.
        runner: the run's task runner.
        run_count: 1 in the first execution of the run, one more with each retry.
        parameters: what the flow function is called with, by name.
        tags: the words attached to the run.
        log_prints: whether what it prints goes to its logger.
        printed: what it printed since the last line's end, to be logged with the rest of that line.
        stdout: ``sys.stdout`` at its start; what its code puts in place of that collects what it prints.
        topic: where its log lines are sent to, if a task on a worker called it; else None.
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
        """Return the task runs of the run by how far they are."""
        raise NotImplementedError


class TaskContext:
    """A task run as the code inside it sees it, be it in the flow's process or on a worker.

    Attributes:
        info: name, attempt and tags.
        spec: the task's options.
        flow_run_name, flow_name: of the run that it belongs to.
        flow: the flow run itself; None on a worker.
        topic: where the run's log lines are sent to; None in the flow's process.
        level: least level of those lines.
        log_prints, printed, stdout: as for a flow run.
        nested: what keeps the runs that the task submits, once it submits one.
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


#: Is told what takes long, by code that waits for a cluster on behalf of a flow run; None outside of any.
activity: ContextVar[Callable[[str], None] | None] = ContextVar("flowcluster_activity", default=None)

#: Words that the code around a submission attaches to the task run.
tags_here: ContextVar[tuple[str, ...]] = ContextVar("flowcluster_tags", default=())

#: The innermost run that the code belongs to; a task run hides its flow run.
current: ContextVar[FlowContext | TaskContext | None] = ContextVar("flowcluster_run", default=None)


def flow_run() -> FlowContext | None:
    """The flow run whose function is being executed; None inside a task and outside of any run."""
    run = current.get()
    return run if isinstance(run, FlowContext) else None


def flow_of_task() -> FlowContext | None:
    """The flow run that the code belongs to, also inside a task; None on a worker and outside of any run."""
    run = current.get()
    return run.flow if isinstance(run, TaskContext) else run


def get_run_context() -> FlowContext | TaskContext:
    """The current run. Raises `NoFlowRunError` outside of any."""
    run = current.get()
    if run is None:
        raise errors.NoFlowRunError(
            f"There is no flow run here: this works only inside a flow or a task of a flow.{hint_for_threads()}"
        )
    return run


def hint_for_threads() -> str:
    """How a thread gets to know its flow run, for messages in threads that do not; empty in the main thread."""
    if threading.current_thread() is threading.main_thread():
        return ""
    return (
        " A thread of your own knows its flow by the context: make one by contextvars.copy_context() in the flow, and "
        "call context.run(function) in the thread."
    )


def united(tags: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Both, each word once, in order."""
    return tuple(dict.fromkeys((*tags, *more))) if more else tags


@contextmanager
def tags(*words: str) -> Iterator[None]:
    """Attach words to the task runs submitted or called, and to the flows called, in the block."""
    token = tags_here.set(united(tags_here.get(), words))
    try:
        yield
    finally:
        tags_here.reset(token)

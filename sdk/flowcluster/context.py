"""Which flow run or task run the code belongs to that is being executed."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import NamedTuple

from . import errors

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


class FlowContext:
    """A flow run as the code inside it sees it.

    Attributes:
        name: name of the run.
        flow_name: name of the flow.
        is_async: whether the flow function is a coroutine function.
        runner: the run's task runner.
    """

    def __init__(self, name: str, flow_name: str, is_async: bool, runner: object) -> None:
        self.name = name
        self.flow_name = flow_name
        self.is_async = is_async
        self.runner = runner


class TaskContext:
    """A task run as the code inside it sees it, be it in the flow's process or on a worker.

    Attributes:
        name: name of the run.
        task_name: name of the task.
        flow_run_name, flow_name: of the run that it belongs to.
        flow: the flow run itself; None on a worker.
        topic: where the run's log lines are sent to; None in the flow's process.
        level: least level of those lines.
    """

    __slots__ = ("flow", "flow_name", "flow_run_name", "level", "name", "task_name", "topic")

    def __init__(
        self,
        name: str,
        task_name: str,
        flow_run_name: str,
        flow_name: str,
        flow: FlowContext | None = None,
        topic: str | None = None,
        level: int = 0,
    ) -> None:
        self.name = name
        self.task_name = task_name
        self.flow_run_name = flow_run_name
        self.flow_name = flow_name
        self.flow = flow
        self.topic = topic
        self.level = level


#: The innermost run that the code belongs to; a task run hides its flow run.
current: ContextVar[FlowContext | TaskContext | None] = ContextVar("flowcluster_run", default=None)


def flow_run() -> FlowContext | None:
    """The flow run whose function is being executed; None inside a task and outside of any run."""
    run = current.get()
    return run if isinstance(run, FlowContext) else None


def require() -> FlowContext | TaskContext:
    """The current run. Raises `NoFlowRunError` outside of any."""
    run = current.get()
    if run is None:
        raise errors.NoFlowRunError("There is no flow run here: this works only inside a flow or a task of a flow.")
    return run

"""Nested runs: runs that a task submits. They belong to the task run, which ends when they have ended."""

from __future__ import annotations

import zlib

from flowcluster import errors
from flowcluster._util import texts
from flowcluster.context import TaskContext
from flowcluster.engine import progress_display
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.runners.base import TaskPayload


class NestedRuns(FlowRun):
    """The runs that a task run submits, by the runner of its flow run or, on a worker, by a runner of its own."""

    def __init__(self, task: TaskContext) -> None:
        flow = task.flow
        make_runner = task.payload.runner_on_worker
        if isinstance(flow, FlowRun):
            runner = flow.runner
        elif make_runner is not None:
            runner = make_runner()
        else:
            raise errors.NoFlowRunError(
                f"Task run '{task.name}' cannot submit other runs: its task runner has no runner for workers."
            )
        super().__init__(task.flow_run_name, task.flow_name, task.spec.is_async, runner, log_prints=task.log_prints)
        self._owns_runner = not isinstance(flow, FlowRun)
        # Workers do not share a counter: the task run distinguishes the names of its runs.
        self._prefix = f"{zlib.crc32(texts.as_bytes(f'{task.name}/{task.run_count}')) & 0xFFFF:04x}-"
        self._task = task
        if task.topic is not None:
            self.send_logs_to(task.topic)  # the driver's log also has the lines of these runs

    def _new_payload(self, spec: TaskSpec) -> TaskPayload:
        of_task = self._task.payload
        payload = TaskPayload(
            spec, self.name, self.flow_name, of_task.process, of_task.level, self.logs_prints_of(spec), of_task.loggers
        )
        payload.topic = of_task.topic
        payload.project = of_task.project
        return payload

    def release(self) -> None:
        """Close a runner that was made for these runs."""
        progress_display.ended(self)
        if self._owns_runner:
            self.runner.close()


def runs_of(task: TaskContext) -> NestedRuns:
    """Return the record of the runs that a task submits.

    Raises:
        NoFlowRunError: the task's runner cannot run any.
    """
    if task.nested is None:
        task.nested = NestedRuns(task)
        progress_display.began(task.nested)
    nested: NestedRuns = task.nested
    return nested

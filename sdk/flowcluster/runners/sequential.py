"""The task runner that executes one task after the other, in the flow's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from flowcluster.errors import Terminated
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.states import State


class SequentialTaskRunner(TaskRunner):
    """Executes each submitted task immediately and to its end, in the order of submission."""

    concurrency: ClassVar[str] = "sequentially"
    is_inline: ClassVar[bool] = True

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> None:
        """Execute `call` before returning."""
        portal = self.portal  # raises an error if the runner is not open, before the task begins
        state = call.run(portal)
        done(state)
        # The task runs in the flow's own thread, so a signal for the flow interrupts the task first.
        if isinstance(state.data, KeyboardInterrupt | Terminated):
            raise state.data

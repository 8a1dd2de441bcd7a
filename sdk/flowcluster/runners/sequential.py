"""One task after the other, in the flow's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from flowcluster.errors import Terminated
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.states import State


class SequentialTaskRunner(TaskRunner):
    """Executes each submitted task at once and to its end, in the order of submission."""

    concurrency: ClassVar[str] = "sequentially"
    is_inline: ClassVar[bool] = True

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> None:
        """Execute `call` before returning."""
        portal = self.portal  # first: it tells if the runner is not open
        state = call.run(portal)
        done(state)
        # A signal reached the task because it runs in the flow's own thread; it means the flow.
        if isinstance(state.data, KeyboardInterrupt | Terminated):
            raise state.data

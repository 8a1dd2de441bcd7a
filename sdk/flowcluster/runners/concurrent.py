"""Many tasks at a time, in the flow's process: threads for functions, one event loop for coroutines."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from flowcluster import states
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.threads import ThreadPool
from flowcluster.states import State


class ConcurrentTaskRunner(TaskRunner):
    """Executes submitted tasks beside each other; the default.

    Args:
        max_workers: how many functions may run at the same time, each in a thread. Threads are
            started only when tasks wait and none is free. Coroutines are not limited.
    """

    concurrency: ClassVar[str] = "concurrently"

    _pool: ThreadPool | None = None

    def __init__(self, max_workers: int = 250) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
        self.max_workers = max_workers

    def open(self) -> None:
        """Get ready; no thread is started yet."""
        super().open()
        self._pool = ThreadPool(self.max_workers)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> Callable[[], None]:
        """Execute `call` beside the others. Return what cancels a coroutine, and a function that has not begun."""
        if self._pool is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        if call.is_async:
            return self.portal.spawn(call.coroutine(), done)
        portal, pool = self.portal, self._pool
        job = pool.submit(lambda: done(call.run(portal)))

        def cancel() -> None:
            if pool.cancel(job):
                done(states.cancelled("Task run was cancelled."))

        return cancel

    def cancel(self, handle: Callable[[], None]) -> None:
        """Cancel a coroutine, or a function that has not begun."""
        handle()

    def close(self, cancel: bool = False) -> None:
        """End the threads; with `cancel` only those that are idle, as a running function cannot be stopped."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(cancel)
        super().close(cancel)

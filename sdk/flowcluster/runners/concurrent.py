"""The task runner that executes tasks concurrently in the flow's process: in threads, and coroutines in one loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from flowcluster import states
from flowcluster._util.portal import Portal
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.threads import Job, ThreadPool
from flowcluster.states import State


class ConcurrentTaskRunner(TaskRunner):
    """Executes submitted tasks concurrently. It is the default task runner.

    Args:
        max_workers: maximum functions that run at the same time, each in a thread. The runner starts a thread only when
            a task waits and no thread is idle. Coroutines are not limited.
    """

    concurrency: ClassVar[str] = "concurrently"

    _pool: ThreadPool | None = None

    def __init__(self, max_workers: int = 250) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
        self.max_workers = max_workers

    def open(self) -> None:
        """Prepare for calls. This starts no thread."""
        super().open()
        self._pool = ThreadPool(self.max_workers)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> Job | Callable[[], None]:
        """Execute `call` concurrently with others. Return the handle for `cancel`."""
        if self._pool is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        if call.is_async:
            return self.portal.spawn(call.coroutine(), done)
        # The handle is a `Job`, not a closure: the run keeps the handle, which must not refer to a run that has begun.
        return self._pool.submit(Execution(call, self.portal, done))

    def cancel(self, handle: Job | Callable[[], None]) -> None:
        """Cancel a coroutine, or a function that has not begun."""
        if not isinstance(handle, Job):
            handle()
        elif (content := handle.take()) is not None:
            _, execution = content
            assert isinstance(execution, Execution)
            execution.done(states.cancelled("Task run was cancelled."))

    def close(self, cancel: bool = False) -> None:
        """End all threads. With `cancel`, end only the idle ones, because a running function cannot be stopped."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(cancel)
        super().close(cancel)


class Execution:
    """The execution of a call in a thread."""

    __slots__ = ("call", "done", "portal")

    def __init__(self, call: TaskCall, portal: Portal, done: Callable[[State], None]) -> None:
        self.call = call
        self.portal = portal
        self.done = done

    def __call__(self) -> None:
        """Execute the call, and call `done` with its final state."""
        self.done(self.call.run(self.portal))

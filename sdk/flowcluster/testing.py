"""Tools for tests of flows: code that would fail on a cluster fails in one process.

`flowcluster.pytest_plugin` has pytest fixtures for them.
"""

from __future__ import annotations

import contextvars
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from flowcluster import states
from flowcluster._output import logs
from flowcluster._util import guarding, pickling
from flowcluster.engine import run_loop
from flowcluster.runners import arguments, worker_body
from flowcluster.runners.base import TaskCall, TaskPayload, TaskRunner
from flowcluster.runners.concurrent import ConcurrentTaskRunner, Execution
from flowcluster.runners.failure import NamedResult, TaskFailure, unsendable
from flowcluster.runners.threads import Job
from flowcluster.states import State

__all__ = ["PicklingTaskRunner", "replaced_task_runners"]


class PicklingTaskRunner(ConcurrentTaskRunner):
    """Executes tasks in threads of this process, with arguments and results pickled as on a Dask or Ray cluster.

    Each task has a copy of its function, of the globals that the function uses of a script or test, and of its
    arguments. The flow gets a copy of the result or exception. What cannot be pickled fails as on a cluster.

    Args:
        max_workers: maximum number of tasks that run at the same time.
    """

    concurrency: ClassVar[str] = "concurrently, with pickled arguments and results"

    _codes: weakref.WeakKeyDictionary[TaskPayload, bytes] | None = None

    def __init__(self, max_workers: int = 4) -> None:
        super().__init__(max_workers)

    def open(self) -> None:
        """Prepare for calls. This starts no thread."""
        super().open()
        self._codes = weakref.WeakKeyDictionary()

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> Job:
        """Pickle `call`, and execute the copy.

        Raises:
            TypeError: something in the call cannot be pickled.
        """
        if self._pool is None or self._codes is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        code = self._codes.get(call.payload)
        if code is None:
            call.payload.runner_on_worker = _opened
            code = self._codes[call.payload] = arguments.dump_code(call)
        return self._pool.submit(_RemoteExecution(call, code, arguments.dump(call), done))

    def close(self, cancel: bool = False) -> None:
        """End the threads; with `cancel` only those that are idle."""
        super().close(cancel)
        self._codes = None


class _RemoteExecution(Execution):
    """The execution of a call that was pickled."""

    __slots__ = ("arguments", "code", "info", "started")

    def __init__(self, call: TaskCall, code: bytes, sent: bytes, done: Callable[[State], None]) -> None:
        self.info = call.info
        self.started = call.started
        self.done = done
        self.code = code
        self.arguments = sent

    def __call__(self) -> None:
        """Execute the copy, and call `done` with a copy of its state."""
        self.started()
        # A worker does not have the context variables of the code that submits the task.
        result = contextvars.Context().run(
            worker_body.run_task, self.code, self.info, self.arguments, tuple, _no_forwarding, _no_fetch
        )
        self.done(_received(self.info.name, result))


def _received(run_name: str, result: Any) -> State:
    """Return the final state of a run, after its result was pickled and loaded."""
    name = None
    if type(result) is NamedResult:
        name, result = result
    try:
        data = pickling.dumps(result)
    except BaseException as error:
        data = pickling.dumps(unsendable(run_name, result, error))
    try:
        result = pickle.loads(data)
    except BaseException as error:
        if guarding.is_interrupt(error):
            raise
        return states.failed(f"The result of task run '{run_name}' cannot be loaded: {states.describe(error)}", error)
    return result.state() if type(result) is TaskFailure else states.completed(result, name=name)


def _no_forwarding() -> logs.ForwardHandler:
    raise AssertionError("log lines are not sent within a process")


def _no_fetch(place: str) -> bytes:
    raise AssertionError("the project's modules are not sent within a process")


def _opened() -> PicklingTaskRunner:
    """Return an open runner for the runs that a task submits."""
    runner = PicklingTaskRunner()
    runner.open()
    return runner


@contextmanager
def replaced_task_runners(task_runner: TaskRunner | None = None) -> Iterator[TaskRunner]:
    """Replace the task runners of all flows for the time of the block, so that no flow starts or joins a cluster.

    Args:
        task_runner: the runner to use; a `PicklingTaskRunner` by default.
    """
    runner = task_runner or PicklingTaskRunner()
    before, run_loop.replacement = run_loop.replacement, runner
    try:
        yield runner
    finally:
        run_loop.replacement = before

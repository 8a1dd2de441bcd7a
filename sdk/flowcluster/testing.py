"""Tools for tests of flows: what would fail on a cluster fails here, in one process.

`flowcluster.pytest_plugin` makes pytest fixtures of them.
"""

from __future__ import annotations

import contextvars
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from flowcluster import guarding, logs, pickling, states
from flowcluster.engine import flow_run
from flowcluster.runners import arguments, worker_body
from flowcluster.runners.base import TaskCall, TaskPayload, TaskRunner
from flowcluster.runners.concurrent import ConcurrentTaskRunner, Execution
from flowcluster.runners.failure import NamedResult, TaskFailure, unsendable
from flowcluster.runners.threads import Job
from flowcluster.states import State

__all__ = ["PicklingTaskRunner", "replaced_task_runners"]


class PicklingTaskRunner(ConcurrentTaskRunner):
    """Executes tasks in threads of this process, and pickles what goes there and back as on a Dask or Ray cluster.

    Each task has a copy of its function, of the globals that the function takes from a script or test, and of its
    arguments; the flow gets a copy of the result or exception. What cannot be pickled fails as on a cluster.

    Args:
        max_workers: how many tasks may run at the same time.
    """

    concurrency: ClassVar[str] = "concurrently, with pickled arguments and results"

    _codes: weakref.WeakKeyDictionary[TaskPayload, bytes] | None = None

    def __init__(self, max_workers: int = 4) -> None:
        super().__init__(max_workers)

    def open(self) -> None:
        """Get ready; no thread is started yet."""
        super().open()
        self._codes = weakref.WeakKeyDictionary()

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> Job:
        """Pickle `call`, and execute the copy. Raises TypeError if something in it cannot be pickled."""
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
        """Execute the copy, and give the copy of its result to `done`."""
        self.started()
        # A worker has none of the context variables of the code that submits.
        result = contextvars.Context().run(
            worker_body.run_task, self.code, self.info, self.arguments, tuple, _no_forwarding, _no_fetch
        )
        self.done(_received(self.info.name, result))


def _received(run_name: str, result: Any) -> State:
    """The final state of a run, after what it left was pickled and loaded."""
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
    raise AssertionError("log lines are at home in this process")


def _no_fetch(place: str) -> bytes:
    raise AssertionError("the project's modules are at home in this process")


def _opened() -> PicklingTaskRunner:
    """The runner for what a task submits itself."""
    runner = PicklingTaskRunner()
    runner.open()
    return runner


@contextmanager
def replaced_task_runners(task_runner: TaskRunner | None = None) -> Iterator[TaskRunner]:
    """In the block, every flow uses this task runner instead of its own, and no flow starts or joins a cluster.

    Args:
        task_runner: the one to use; a `PicklingTaskRunner` by default.
    """
    runner = task_runner or PicklingTaskRunner()
    before, flow_run.replacement = flow_run.replacement, runner
    try:
        yield runner
    finally:
        flow_run.replacement = before

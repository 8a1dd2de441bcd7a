"""``@task``: a function whose calls in a flow are task runs."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, Literal, Never, ParamSpec, Self, TypeVar, Unpack, overload

from flowcluster import context, errors
from flowcluster._util.functions import Binding, copy_names, look_up, reference_to, refuse_lost_class, unwrapped
from flowcluster._util.waiting import Blocking, Suspending, drive
from flowcluster.engine import direct_call, mapping, nested_runs, pending_task
from flowcluster.engine.caching.cached_run import task_input_hash
from flowcluster.engine.described import Described
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.inputs import WaitFor
from flowcluster.engine.retries import exponential_backoff
from flowcluster.engine.spec_registry import makes_from, register
from flowcluster.engine.task_spec import TaskOptions, TaskSpec
from flowcluster.futures import AsyncTaskFuture, FutureList, RunFuture, TaskFuture
from flowcluster.marks import Mark
from flowcluster.states import State

__all__ = ["Task", "TaskOptions", "exponential_backoff", "task", "task_input_hash"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


@makes_from(TaskSpec)
class Task(Described, Generic[P, R_co]):
    """A function whose calls in a flow are task runs. Made by `task`.

    Type checkers assume that an async task belongs to an async flow: a call of it has the type of a coroutine, and its
    future is an `AsyncTaskFuture`.

    Attributes:
        fn: the function.
        name: name of the task.
        spec: function and options, for the engine.
    """

    __name__: str
    spec: TaskSpec

    def __init__(self, spec: TaskSpec, binding: Binding = Binding.INSTANCE, owner: tuple[Any, ...] = ()) -> None:
        self.spec = spec
        self._binding = binding
        # The instance or class that the task is a method of: the first argument of each run. It is not a part of the
        # spec, which workers keep.
        self._owner = owner
        self._is_checked = bool(owner) or binding is not Binding.INSTANCE
        copy_names(spec.function, self)
        register(spec, self)

    @property
    def fn(self) -> Callable[P, R_co]:
        """The task's function itself. A call of it is not a task run."""
        return types.MethodType(self.spec.function, *self._owner) if self._owner else self.spec.function

    # A result type `Any` matches the first overload of each kind. The overloads for `Never` are there so that `Any`
    # does not match the overloads for coroutines.
    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Task[..., Never], /, *args: Any, return_state: Literal[True], wait_for: WaitFor = (), **kwargs: Any
    ) -> State: ...
    @overload
    def __call__(
        self: Task[..., Coroutine[Any, Any, T]],
        /,
        *args: Any,
        return_state: Literal[True],
        wait_for: WaitFor = (),
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State[T]]: ...
    @overload
    def __call__(
        self, /, *args: Any, return_state: Literal[True], wait_for: WaitFor = (), **kwargs: Any
    ) -> State[R_co]: ...
    @overload
    def __call__(self, /, *args: Any, wait_for: WaitFor, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(self, upstream: RunFuture[Any] | Mark[Any], /, *args: Any, **kwargs: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the task immediately, without the flow's task runner, and return what its function returned.

        Futures among the arguments are awaited and replaced by their results. An async task returns a coroutine, unless
        a sync flow or a sync task calls it. Outside of a flow, and inside a task, there is no task run: the function is
        called without retries and without a time limit when what it waits for has ended.

        With `return_state`, return the final state instead of raising the errors below.

        Raises:
            UpstreamFailed: a run that it waits for did not complete.
            BaseException: whatever the function raises.
        """
        args = (*self._owner, *args)
        run = context.flow_run()
        return_state, wait_for = kwargs.pop("return_state", False), kwargs.pop("wait_for", ())
        if run is None:
            return direct_call.call_function(self.spec, args, kwargs, wait_for, return_state)
        assert isinstance(run, FlowRun)
        if self.spec.is_async and run.is_async:
            return self._call_async(run, args, kwargs, wait_for, return_state)
        state = drive(direct_call.call_task(run, self.spec, args, kwargs, wait_for, Blocking()))
        return state if return_state else state.result()

    async def _call_async(self, run: FlowRun, args: Any, kwargs: Any, wait_for: WaitFor, return_state: bool) -> Any:
        state = await direct_call.call_task(run, self.spec, args, kwargs, wait_for, Suspending())
        return state if return_state else state.result()

    @overload
    def submit(self: Task[..., Never], /, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> TaskFuture[Any]: ...
    @overload
    def submit(
        self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, wait_for: WaitFor = (), **kwargs: Any
    ) -> AsyncTaskFuture[T]: ...
    @overload
    def submit(self, /, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> TaskFuture[R_co]: ...
    def submit(self, /, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> Any:
        """Submit a run of the task to the flow's task runner, and return its future without waiting.

        Futures among the arguments, also inside of lists, tuples, sets, dicts and dataclasses, are replaced by their
        results before the function is called. The runs in `wait_for` must complete before. If one of all these runs
        does not complete, the submitted run never starts and ends as ``NotReady``.

        In a sync flow the future's methods block. If an async flow submits an async task, the future's methods are
        awaited. A run that is submitted inside a task belongs to the task's run, which ends after it.

        Raises:
            NoFlowRunError: the code is not in a flow run.
            ValueError: ``task_run_name`` cannot be filled in with the arguments.
        """
        return_state = kwargs.pop("return_state", False)
        run = self._submitter("submit")
        future: Any = pending_task.submit(run, self.spec, (*self._owner, *args), kwargs, wait_for)
        return future.wait() if return_state else future

    @overload
    def map(
        self: Task[..., Never], /, *args: Any, wait_for: WaitFor = (), **kwargs: Any
    ) -> FutureList[TaskFuture[Any]]: ...
    @overload
    def map(
        self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, wait_for: WaitFor = (), **kwargs: Any
    ) -> FutureList[AsyncTaskFuture[T]]: ...
    @overload
    def map(self, /, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> FutureList[TaskFuture[R_co]]: ...
    def map(self, /, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> FutureList[Any]:
        """Submit one run for each item of the arguments that can be iterated, and return the futures in order.

        Every run gets strings, bytes and `unmapped` values unchanged. A future among the arguments is awaited, and its
        result is mapped over.

        Raises:
            MapError: no argument can be iterated, or lengths differ.
            NoFlowRunError: the code is not in a flow run.
            ValueError: ``task_run_name`` cannot be filled in with the arguments.
        """
        return_state = kwargs.pop("return_state", False)
        run = self._submitter("map")
        order = list(wait_for) if not isinstance(wait_for, RunFuture) else wait_for
        # The instance of a method can be large: as a part of the spec it is sent once, as an argument with each item.
        spec = dataclasses.replace(self.spec, function=self.fn) if self._owner else self.spec
        futures = FutureList(
            pending_task.submit(run, spec, item_args, item_kwargs, order)
            for item_args, item_kwargs in mapping.calls(args, kwargs)
        )
        return _states(futures) if return_state else futures

    def _submitter(self, method: str) -> FlowRun:
        """Return the flow run to which the code belongs or, inside a task, the record of the task's nested runs."""
        if not self._is_checked:
            refuse_lost_class(self)
            self._is_checked = True
        run = context.current.get()
        if isinstance(run, FlowRun):
            return run
        if isinstance(run, context.TaskContext):
            return nested_runs.runs_of(run)
        raise errors.NoFlowRunError(
            f"{self.name}.{method}() works only in a flow or a task of a flow; {self.name}() calls the function itself."
            f"{context.hint_for_threads()}"
        )

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self: Task[Concatenate[Any, Q], T], instance: object, owner: type | None = None) -> Task[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a task in a class, as a method: its function gets the instance, or the class, as its first argument."""
        first = owner or type(instance) if self._binding is Binding.CLASS else instance
        if first is None or self._binding is Binding.NOTHING or self._owner:
            return self
        bound: Task[Any, Any] = Task.__new__(type(self))
        vars(bound).update(vars(self), _owner=(first,), _is_checked=True)
        return bound

    def with_options(self, **options: Unpack[TaskOptions]) -> Task[P, R_co]:
        """Return a copy of the task with other options, which `TaskOptions` lists."""
        return Task(self.spec.having(options), self._binding, self._owner)

    def __reduce__(self) -> tuple[Any, ...]:
        path = reference_to(self)
        return (look_up, path) if path else (Task, (self.spec, self._binding, self._owner))

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
    """Turn a function, sync or async, into a task. `TaskOptions` lists the options.

    Raises:
        TypeError: the function cannot be a task, or an option has the wrong type; the message names it.
        ValueError: an option has a wrong value; the message names it.
    """
    if function is None:
        return lambda function: _made(function, options)
    return _made(function, options)


def _made(function: Any, options: TaskOptions) -> Task[..., Any]:
    bare, binding = unwrapped(function)
    return Task(TaskSpec.of(bare, options), binding)


def _states(futures: FutureList[Any]) -> Any:
    """Return the final states of the runs of a ``.map``; for an async task, a coroutine that returns them."""
    if not any(isinstance(future, AsyncTaskFuture) for future in futures):
        return [future.wait() for future in futures]

    async def gathered() -> list[State]:
        return [await future.wait() for future in futures]

    return gathered()

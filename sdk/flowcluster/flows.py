"""``@flow``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from . import context, names
from .engine import flow_run
from .engine.flow_run import FlowSpec
from .engine.run import FlowRun
from .options import check_function, is_coroutine_function, look_up, reference_to
from .states import State
from .task_runners import ConcurrentTaskRunner, TaskRunner

P = ParamSpec("P")
R = TypeVar("R")


class Flow(Generic[P, R]):
    """A function whose call is a flow run. Made by `flow`.

    Attributes:
        fn: the function.
        name: name of the flow.
        task_runner: what runs the tasks that the function submits.
        spec: all of it, for the engine.
    """

    def __init__(self, spec: FlowSpec) -> None:
        self.spec = spec
        functools.update_wrapper(self, spec.function)

    @property
    def fn(self) -> Callable[..., Any]:
        """The flow's function itself; a call of it is no flow run."""
        return self.spec.function

    @property
    def name(self) -> str:
        """Name of the flow."""
        return self.spec.name

    @property
    def task_runner(self) -> TaskRunner:
        """The runner that each run opens a duplicate of."""
        return self.spec.runner

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow and give what its function returned, with results in place of futures.

        An async flow gives a coroutine, unless a sync flow calls it. Raises the exception of the
        function, or of the first task that did not complete; with `return_state`, gives the final
        state instead. Raises `ParameterError` for wrong parameters.
        """
        return_state = kwargs.pop("return_state", False)
        if self.spec.is_async and not _in_sync_flow():
            return self._call_async(args, kwargs, return_state)
        return _outcome(flow_run.run_blocking(self.spec, args, kwargs), return_state)

    async def _call_async(self, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool) -> Any:
        return _outcome(await flow_run.run_async(self.spec, args, kwargs), return_state)

    def with_options(
        self,
        *,
        name: str | None = None,
        task_runner: TaskRunner | type[TaskRunner] | None = None,
        validate_parameters: bool | None = None,
    ) -> Flow[P, R]:
        """The same flow with other options; this one stays as it is."""
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = name
        if task_runner is not None:
            changes["runner"] = _runner(task_runner)
        if validate_parameters is not None:
            changes["validate"] = validate_parameters
        return Flow(dataclasses.replace(self.spec, **changes))

    def __reduce__(self) -> tuple[Any, ...]:
        path = reference_to(self)
        return (look_up, path) if path else (Flow, (self.spec,))

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    task_runner: TaskRunner | type[TaskRunner] | None = None,
    validate_parameters: bool = True,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    task_runner: TaskRunner | type[TaskRunner] | None = None,
    validate_parameters: bool = True,
) -> Any:
    """Turn a function, sync or async, into a flow.

    Args:
        function: what the flow runs.
        name: name of the flow; by default the function's, with dashes.
        task_runner: an instance, or a type to be used with its defaults; `ConcurrentTaskRunner` by default.
        validate_parameters: convert parameters to the types they are annotated with.

    Raises TypeError for what cannot be a flow.
    """
    if function is None:
        return functools.partial(flow_with, name=name, task_runner=task_runner, validate_parameters=validate_parameters)
    return flow_with(function)


def flow_with(
    function: Callable[P, R],
    name: str | None = None,
    task_runner: TaskRunner | type[TaskRunner] | None = None,
    validate_parameters: bool = True,
) -> Flow[P, R]:
    """A flow with these options; `flow` in a form that is no decorator."""
    check_function(function, "flow")
    return Flow(
        FlowSpec(
            function=function,
            name=name or names.flow_name(function),
            is_async=is_coroutine_function(function),
            runner=_runner(task_runner or ConcurrentTaskRunner),
            validate=validate_parameters,
        )
    )


def _runner(task_runner: TaskRunner | type[TaskRunner]) -> TaskRunner:
    runner = task_runner() if isinstance(task_runner, type) else task_runner
    if not isinstance(runner, TaskRunner):
        raise TypeError(f"task_runner must be a task runner or its type, not {task_runner!r}.")
    return runner


def _in_sync_flow() -> bool:
    parent = context.flow_run()
    return parent is not None and not parent.is_async


def _outcome(run: FlowRun, return_state: bool) -> Any:
    if run.interrupt is not None:
        raise run.interrupt
    return run.state if return_state else run.state.result()

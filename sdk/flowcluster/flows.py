"""``@flow``: a function whose calls are flow runs."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from flowcluster import context
from flowcluster._util.functions import Binding, copy_names, look_up, reference_to, unwrapped
from flowcluster.engine import run_loop
from flowcluster.engine.described import Described
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.flow_spec import FlowOptions, FlowSpec
from flowcluster.engine.inputs import WaitFor
from flowcluster.engine.spec_registry import makes_from, register
from flowcluster.futures import RunFuture, TaskFuture
from flowcluster.marks import Mark
from flowcluster.states import State
from flowcluster.task_runners import TaskRunner

if TYPE_CHECKING:
    from flowcluster.submit.handle import SubmittedRun

__all__ = ["Flow", "FlowOptions", "flow"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

#: What a flow's function can return. A call of the flow returns the results in place of the futures.
Futures = RunFuture[Any] | list[TaskFuture[Any]]


@makes_from(FlowSpec)
class Flow(Described, Generic[P, R_co]):
    """A function whose call is a flow run. Made by `flow`.

    Type checkers assume that no sync flow calls an async flow: a call of an async flow has the type of a coroutine.

    Attributes:
        fn: the function.
        name: name of the flow.
        task_runner: runs the tasks that the function submits.
        spec: function and options, for the engine.
    """

    __name__: str
    spec: FlowSpec

    def __init__(self, spec: FlowSpec, binding: Binding = Binding.INSTANCE) -> None:
        self.spec = spec
        self._binding = binding
        copy_names(spec.function, self)
        register(spec, self)

    @property
    def fn(self) -> Callable[P, R_co]:
        """The flow's function itself. A call of it is not a flow run."""
        return self.spec.function

    @property
    def task_runner(self) -> TaskRunner:
        """The task runner, of which each run opens a duplicate."""
        return self.spec.runner

    # The ignored overlaps do not occur, because a flow cannot have a parameter `return_state`. A result type `Any`
    # matches the first overload of each kind. The overload for `Never` is there so that `Any` does not match the
    # overload for futures.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: Flow[..., Futures], /, *args: Any, return_state: Literal[True], wait_for: WaitFor = (), **kwargs: Any
    ) -> State: ...
    @overload
    def __call__(
        self: Flow[..., Coroutine[Any, Any, Futures]],
        /,
        *args: Any,
        return_state: Literal[True],
        wait_for: WaitFor = (),
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: Flow[..., Coroutine[Any, Any, T]],
        /,
        *args: Any,
        return_state: Literal[True],
        wait_for: WaitFor = (),
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State[T]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, /, *args: Any, return_state: Literal[True], wait_for: WaitFor = (), **kwargs: Any
    ) -> State[R_co]: ...
    @overload
    def __call__(self: Flow[P, Never], /, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(self: Flow[P, RunFuture[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def __call__(self: Flow[P, list[TaskFuture[T]]], /, *args: P.args, **kwargs: P.kwargs) -> list[T]: ...
    @overload
    def __call__(
        self: Flow[P, Coroutine[Any, Any, RunFuture[T]]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def __call__(
        self: Flow[P, Coroutine[Any, Any, list[TaskFuture[T]]]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, list[T]]: ...
    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Flow[..., Futures | Coroutine[Any, Any, Futures]], /, *args: Any, wait_for: WaitFor, **kwargs: Any
    ) -> Any: ...
    @overload
    def __call__(self, /, *args: Any, wait_for: WaitFor, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(
        self: Flow[..., Futures | Coroutine[Any, Any, Futures]],
        upstream: RunFuture[Any] | Mark[Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any: ...
    @overload
    def __call__(self, upstream: RunFuture[Any] | Mark[Any], /, *args: Any, **kwargs: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the flow, and return what its function returned, with results in place of futures.

        An async flow returns a coroutine, unless a sync flow calls it. A subflow starts when the runs in `wait_for`
        have completed. With `return_state`, return the final state instead of raising the errors below.

        Raises:
            ParameterError: the parameters are wrong.
            BaseException: whatever the function raised, or the first task that did not complete.
        """
        return_state, wait_for = kwargs.pop("return_state", False), kwargs.pop("wait_for", ())
        if self.spec.is_async and not _in_sync_flow():
            return self._call_async(args, kwargs, wait_for, return_state)
        return _outcome(run_loop.run_blocking(self.spec, args, kwargs, wait_for=wait_for), return_state)

    async def _call_async(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: WaitFor, return_state: bool
    ) -> Any:
        return _outcome(await run_loop.run_async(self.spec, args, kwargs, wait_for=wait_for), return_state)

    def submit_to_kubernetes(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        image: str | None = None,
        name: str | None = None,
        workers: int | tuple[int, int] | None = None,
        cluster: str | None = None,
        result_storage: str | None = None,
        spec: Mapping[str, Any] | None = None,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> SubmittedRun:
        """Submit this flow to Kubernetes as a FlowRun, which flowcluster's operator runs. Do not wait for its end.

        The FlowRun's ConfigMap contains the flow's file and the modules of the project that the file imports. A flow in
        an imported package is not sent: it needs an `image` that has the package.

        If the task runner makes a `DaskKubernetesCluster` or a `RayKubernetesCluster`, the operator creates such a
        cluster for the run. With a `SharedKubernetesCluster`, the run uses that SharedCluster.

        Args:
            parameters: of the flow, by name; values that JSON can express.
            image: of the driver, and of its cluster; by default ``FLOWCLUSTER_IMAGE``, or the image that the operator's
                administrator set.
            name: of the FlowRun; by default the flow's name with a unique suffix.
            workers: the number of workers of the run's own cluster, or their minimum and maximum. If the task runner
                makes no cluster, the run gets a Ray cluster for a `RayTaskRunner`, and a Dask cluster for others.
            cluster: ``NAME`` or ``NAME/NAMESPACE`` of a SharedCluster that the run uses, whatever its task runner is.
            result_storage: fsspec URL of a folder that both the driver and you can reach. It gets a result that is too
                large for the FlowRun.
            spec: merged into the FlowRun's spec, for other fields: ``{"activeDeadlineSeconds": 3600}``.
            kubeconfig: path of the kubeconfig file; by default as for kubectl.
            context: name of a context in it; by default its current one.
            namespace: where the FlowRun is created; by default that of the context.

        Raises:
            ParameterError: the flow does not accept the parameters. Nothing was created.
            ValueError: something else cannot be submitted. Nothing was created.
            KubernetesError: the API server refuses the FlowRun or cannot be reached.
        """
        from flowcluster.kube.choice import Choice
        from flowcluster.submit.manifests import submit
        from flowcluster.submit.prepare import prepare

        request = prepare(
            self,
            parameters or {},
            image=image,
            name=name,
            workers=workers,
            cluster=cluster,
            result_storage=result_storage,
            spec=spec,
            choice=Choice(kubeconfig, context, namespace),
        )
        return submit(request)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self: Flow[Concatenate[Any, Q], T], instance: object, owner: type | None = None) -> Flow[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a flow in a class, as a method: its function gets the instance, or the class, as its first argument."""
        first = owner or type(instance) if self._binding is Binding.CLASS else instance
        if first is None or self._binding is Binding.NOTHING:
            return self
        function = types.MethodType(self.spec.function, first)
        return Flow(dataclasses.replace(self.spec, function=function), Binding.NOTHING)

    def with_options(self, **options: Unpack[FlowOptions]) -> Flow[P, R_co]:
        """Return a copy of the flow with other options, which `FlowOptions` lists."""
        return Flow(self.spec.having(options), self._binding)

    def __reduce__(self) -> tuple[Any, ...]:
        path = reference_to(self)
        return (look_up, path) if path else (Flow, (self.spec, self._binding))

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(**options: Unpack[FlowOptions]) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(function: Callable[..., Any] | None = None, /, **options: Unpack[FlowOptions]) -> Any:
    """Turn a function, sync or async, into a flow. `FlowOptions` lists the options.

    Raises:
        TypeError: the function cannot be a flow, or an option has the wrong type; the message names it.
        ValueError: an option has a wrong value; the message names it.
    """
    if function is None:
        return lambda function: _made(function, options)
    return _made(function, options)


def _made(function: Any, options: FlowOptions) -> Flow[..., Any]:
    bare, binding = unwrapped(function)
    return Flow(FlowSpec.of(bare, options), binding)


def _in_sync_flow() -> bool:
    parent = context.flow_run()
    return parent is not None and not parent.is_async


def _outcome(run: FlowRun, return_state: bool) -> Any:
    if (interrupt := run.interrupt or run.late_interrupt) is not None:
        raise interrupt
    return run.state if return_state else run.state.result()

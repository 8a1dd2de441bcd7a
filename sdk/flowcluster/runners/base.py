"""The base class of task runners, and the calls that the engine submits to them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, ClassVar, Protocol, Self

from flowcluster import states
from flowcluster._util import guarding
from flowcluster._util.portal import Portal
from flowcluster._util.waiting import drive
from flowcluster.context import RunInfo
from flowcluster.errors import ClusterError
from flowcluster.futures import RunFuture
from flowcluster.project.source import Reference
from flowcluster.states import State
from flowcluster_api.driver import Outcome


class Task(Protocol):
    """The attributes of a task that a runner reads. The engine's `TaskSpec` has them."""

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function that the task calls."""

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""

    @property
    def resources(self) -> Mapping[str, float] | None:
        """Amounts of its worker's resources that an execution occupies, by name."""

    def for_worker(self) -> Task:
        """Return the task without the attributes that only the flow's process uses."""


class TaskCall:
    """One execution of a task, which a task runner can send to another process.

    Attributes:
        body: the engine's code around the task function; the same for all tasks.
        payload: the data that all runs of the task share.
        key: unique name of the run in its flow run; begins with the task's name.
        info: name of the task run, and the number of this execution of it.
        args, kwargs: arguments of the task function, with a `Slot` in place of each result of `upstream`.
        upstream: handles of the runs whose results replace the slots; the same runner made them.
        started: the runner calls it when the execution begins, if the runner can observe that.
    """

    __slots__ = ("args", "body", "info", "key", "kwargs", "payload", "started", "upstream")

    def __init__(
        self,
        body: Callable[[Any, RunInfo, tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, State]],
        payload: TaskPayload,
        key: str,
        info: RunInfo,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        upstream: list[Any],
        started: Callable[[], None],
    ) -> None:
        self.body = body
        self.payload = payload
        self.key = key
        self.info = info
        self.args = args
        self.kwargs = kwargs
        self.upstream = upstream
        self.started = started

    @property
    def is_async(self) -> bool:
        """Whether the task function is a coroutine function, so that `coroutine` can suspend."""
        return self.payload.spec.is_async

    def coroutine(self) -> Coroutine[Any, Any, State]:
        """Return the execution, for an event loop."""
        self.started()
        return self.body(self.payload, self.info, self.args, self.kwargs)

    def run(self, portal: Portal) -> State:
        """Execute the call in this thread. An async function runs on the portal's loop, while this thread waits.

        Returns:
            The final state, also if the code around the function raises. Only exceptions of signals are raised.
        """
        try:
            return portal.run(self.coroutine()) if self.is_async else drive(self.coroutine())
        except BaseException as error:
            if guarding.is_interrupt(error):
                raise
            return states.crashed(f"Task run was broken off: {states.describe(error)}", error)


class TaskPayload:
    """The data that all runs of one task in one flow run share. It can be pickled. A runner sends it to a worker once.

    Attributes:
        spec: the task.
        flow_run_name, flow_name: names of the flow run and of its flow.
        topic: topic under which a worker sends log lines; None if it sends none. The runner sets it.
        level: lowest level of the log lines that a worker sends.
        loggers: names of loggers of libraries whose lines also belong to the run.
        log_prints: whether the run's logger logs the lines that the task prints.
        process: id of the driver's process. A worker compares it with its own.
        project: how workers get the project's modules; None without any. The runner sets it.
        runner_on_worker: makes, on a worker, an open runner for runs that the task itself submits; None in the flow's
            process, which has a runner. The runner sets it.
    """

    def __init__(
        self,
        spec: Task,
        flow_run_name: str,
        flow_name: str,
        process: str,
        level: int,
        log_prints: bool = False,
        loggers: tuple[str, ...] = (),
    ) -> None:
        self.spec = spec
        self.flow_run_name = flow_run_name
        self.flow_name = flow_name
        self.process = process
        self.level = level
        self.log_prints = log_prints
        self.loggers = loggers
        self.topic: str | None = None
        self.project: Reference | None = None
        self.runner_on_worker: Callable[[], TaskRunner] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes that a worker needs."""
        return {**vars(self), "spec": self.spec.for_worker()}


_ABSENT = object()


class TaskRunner(abc.ABC):
    """Executes the task runs of one flow run at a time. It is the base class of your own runners.

    The instance that you configure has only its configuration. The engine opens a `duplicate` of it for each flow run,
    so one instance can serve many flows at the same time.

    A subclass implements `submit` and sets `concurrency`. An attribute that only an open runner has needs a private
    name, and the value None in the class. `open` sets it, and `close` resets it. All other attributes are
    configuration: a duplicate has them, and they must be picklable if tasks call flows on workers.
    """

    #: How submitted tasks run relative to each other, for the log line.
    concurrency: ClassVar[str] = "by a runner of your own"

    #: The kind of cluster that a FlowRun creates for this runner, if it creates one.
    cluster_kind: ClassVar[str] = "Dask"

    #: Whether `submit` returns only when the call has ended.
    is_inline: ClassVar[bool] = False

    #: Maximum calls in flight; None without a limit.
    max_in_flight: ClassVar[int | None] = None

    #: What the runner does before or after the tasks, as text for the user; None while it executes tasks.
    activity: str | None = None

    #: Returns how the flow run ended, for the record of a cluster. The engine sets it before `close`.
    outcome: Callable[[], Outcome] | None = None

    _portal: Portal | None = None

    @property
    def name(self) -> str:
        """Name of the runner's type."""
        return type(self).__name__

    @property
    def portal(self) -> Portal:
        """The event loop for the flow run's async tasks. Raises RuntimeError before `open`."""
        portal = self._portal
        if portal is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        return portal

    @property
    def is_open(self) -> bool:
        """Whether `submit` can be called."""
        return self._portal is not None

    def duplicate(self) -> Self:
        """Return a runner with the same configuration that is not open."""
        runner = type(self).__new__(type(self))
        vars(runner).update(self._configuration())
        return runner

    def _configuration(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not self._is_of_open_runner(name)}

    @classmethod
    def _is_of_open_runner(cls, name: str) -> bool:
        return name in ("activity", "outcome") or (name.startswith("_") and getattr(cls, name, _ABSENT) is None)

    def __getstate__(self) -> dict[str, Any]:
        return self._configuration()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._configuration() == other._configuration()

    __hash__ = object.__hash__

    def open(self) -> None:
        """Prepare for calls. This can take long, for instance if a cluster has to start."""
        self._portal = Portal()

    def bound(self, changed: Callable[[int | None], None]) -> int | None:
        """Return the maximum calls in flight; None without a limit.

        Args:
            changed: called with a new maximum, from any thread, when it changes while the runner is open.
        """
        return self.max_in_flight

    @abc.abstractmethod
    def submit(self, call: TaskCall, done: Callable[[State], None]) -> Any:
        """Execute `call`, now or later, and call `done` with its final state, from any thread.

        Returns:
            A handle for `cancel`, and for `TaskCall.upstream` of later calls if `chains` accepts it. It can be None.

        Raises:
            RuntimeError: the runner is not open.
        """

    def chains(self, handle: Any) -> bool:
        """Return whether a handle, of any runner, can be in the `upstream` of a call to this runner."""
        return False

    def cancel(self, handle: Any) -> None:  # noqa: B027 - most runners cannot
        """Stop a run if that is possible. Its future has already ended as cancelled.

        A function in a thread cannot be stopped: it continues, and its result is ignored.
        """

    def retries(self) -> int:
        """Return the number of retries that the code around a submission sets for it, such as by an annotation."""
        return 0

    def workers(self) -> int | None:
        """Return the number of workers of the cluster; None without a cluster. Never blocks."""
        return None

    def running(self, unfinished: Collection[RunFuture[Any]]) -> int | None:
        """Return how many of these task runs are being executed; None if that is unknown. Never blocks."""
        return sum(future.state.is_running() for future in unfinished)

    def trouble(self) -> ClusterError | None:
        """Return the problem of the runner's cluster, as the cause of errors in the flow; None without a problem."""
        return None

    def close(self, cancel: bool = False) -> None:
        """Release all resources. With `cancel`, stop the runs that have not ended, without waiting for their ends."""
        portal, self._portal = self._portal, None
        if portal is not None:
            portal.close()

    def __repr__(self) -> str:
        return f"{self.name}()"

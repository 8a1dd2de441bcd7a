"""Handles for task runs that were submitted to a task runner."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Generic, Literal, Self, TypeVar, overload

from flowcluster import states
from flowcluster.gathering import DoneAndNotDone, as_completed, wait
from flowcluster.run_future import RunFuture
from flowcluster.states import State
from flowcluster.waiting import Suspending, wait_async, wait_blocking

__all__ = [
    "AsyncTaskFuture",
    "DoneAndNotDone",
    "Future",
    "FutureList",
    "RunFuture",
    "TaskFuture",
    "as_completed",
    "wait",
]

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound="RunFuture[Any]")


class TaskFuture(RunFuture[R_co]):
    """The handle of a submitted task run; its methods block.

    In an async flow, ``await task.submit(...)`` gives this handle as well.
    """

    __slots__ = ()

    @overload
    def wait(self, timeout: None = None) -> State[R_co]: ...
    @overload
    def wait(self, timeout: float | None) -> State[R_co] | None: ...
    def wait(self, timeout: float | None = None) -> State[R_co] | None:
        """Wait for the end of the run: its final state, or None if it takes longer than `timeout` seconds."""
        if self.is_settled or wait_blocking(self.when_done, timeout):
            return self._state
        return None

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> R_co: ...
    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> R_co | BaseException: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> R_co | BaseException: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R_co | BaseException:
        """Wait for the run and give what its function returned.

        Raises the run's exception when it did not complete, or returns it if `raise_on_failure` is
        false. Raises TimeoutError when it takes longer than `timeout` seconds.
        """
        state = self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        return state.result(raise_on_failure)

    def get_state(self) -> State[R_co]:
        """How the run stands now."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


#: The name for annotations: ``def report(total: Future[int])``.
Future = TaskFuture


class AsyncTaskFuture(RunFuture[R_co]):
    """The handle of an async task that an async flow submitted; its methods are awaited."""

    __slots__ = ()

    @overload
    async def wait(self, timeout: None = None) -> State[R_co]: ...  # noqa: ASYNC109 - as in `TaskFuture`
    @overload
    async def wait(self, timeout: float | None) -> State[R_co] | None: ...  # noqa: ASYNC109 - as in `TaskFuture`
    async def wait(self, timeout: float | None = None) -> State[R_co] | None:  # noqa: ASYNC109 - as in `TaskFuture`
        """Wait for the end of the run: its final state, or None if it takes longer than `timeout` seconds."""
        if self.is_settled or await wait_async(self.when_done, timeout):
            return self._state
        return None

    @overload
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: Literal[True] = True,
    ) -> R_co: ...
    @overload
    async def result(
        self,
        timeout: float | None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: bool,
    ) -> R_co | BaseException: ...
    @overload
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        *,
        raise_on_failure: bool,
    ) -> R_co | BaseException: ...
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: bool = True,
    ) -> R_co | BaseException:
        """Wait for the run and give what its function returned; raises as `TaskFuture.result` does."""
        state = await self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        if isinstance(state.data, states.Remote):
            return await Suspending().call(lambda: state.result(raise_on_failure))
        return state.result(raise_on_failure)

    async def get_state(self) -> State[R_co]:
        """How the run stands now."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


class FutureList(list[F], Generic[F]):
    """The futures of a ``.map``, in the order of its items.

    In an async flow, ``await task.map(...)`` gives this list as well.
    """

    def wait(self, timeout: float | None = None) -> DoneAndNotDone[F]:
        """Wait for all of them, as `wait` does."""
        return wait(self, timeout)

    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None = None, raise_on_failure: Literal[True] = True
    ) -> list[T]: ...
    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None, raise_on_failure: bool
    ) -> list[T | BaseException]: ...
    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None = None, *, raise_on_failure: bool
    ) -> list[T | BaseException]: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """What the runs returned, in order.

        Raises the exception of the first run to end that did not complete, without waiting for the
        others; with `raise_on_failure` false, exceptions take their places in the list. Raises
        TimeoutError when that takes longer than `timeout` seconds in all.
        """
        for future in as_completed(self, timeout):
            if raise_on_failure and not future.state.is_completed():
                raise future.state.exception()
        return [future.state.result(raise_on_failure) for future in self]

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


def _timeout(name: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"Task run '{name}' did not end within {timeout} seconds.")

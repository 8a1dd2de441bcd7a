"""Futures: handles of task runs that were submitted to a task runner."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Generic, Literal, Self, TypeVar, overload

from flowcluster import states
from flowcluster._util.waiting import Suspending, wait_async, wait_blocking
from flowcluster.futures.gathering import DoneAndNotDone, as_completed, wait
from flowcluster.futures.run_future import RunFuture
from flowcluster.states import State

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
    """The handle of a submitted task run. Its methods block.

    In an async flow, ``await task.submit(...)`` returns this handle, too.
    """

    __slots__ = ()

    @overload
    def wait(self, timeout: None = None) -> State[R_co]: ...
    @overload
    def wait(self, timeout: float | None) -> State[R_co] | None: ...
    def wait(self, timeout: float | None = None) -> State[R_co] | None:
        """Wait for the end of the run. Return its final state, or None if that takes longer than `timeout` seconds."""
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
        """Wait for the end of the run, and return what its function returned.

        Args:
            timeout: seconds to wait; None without a limit.
            raise_on_failure: whether to raise the exception of a run that did not complete. Otherwise it is returned.

        Raises:
            TimeoutError: the run did not end in time.
            BaseException: the exception of a run that did not complete.
        """
        state = self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        return state.result(raise_on_failure)

    def get_state(self) -> State[R_co]:
        """Return the current state of the run."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


#: The name for annotations: ``def report(total: Future[int])``.
Future = TaskFuture


class AsyncTaskFuture(RunFuture[R_co]):
    """The handle of an async task that an async flow submitted. Its methods are awaited."""

    __slots__ = ()

    @overload
    async def wait(self, timeout: None = None) -> State[R_co]: ...  # noqa: ASYNC109 - as in `TaskFuture`
    @overload
    async def wait(self, timeout: float | None) -> State[R_co] | None: ...  # noqa: ASYNC109 - as in `TaskFuture`
    async def wait(self, timeout: float | None = None) -> State[R_co] | None:  # noqa: ASYNC109 - as in `TaskFuture`
        """Wait for the end of the run. Return its final state, or None if that takes longer than `timeout` seconds."""
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
        """Wait for the end of the run, and return its result, as `TaskFuture.result` does."""
        state = await self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        if isinstance(state.data, states.Remote):
            return await Suspending().run_sync(lambda: state.result(raise_on_failure))
        return state.result(raise_on_failure)

    async def get_state(self) -> State[R_co]:
        """Return the current state of the run."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


class FutureList(list[F], Generic[F]):
    """The futures of a ``.map``, in the order of its items.

    In an async flow, ``await task.map(...)`` returns this list, too.
    """

    def wait(self, timeout: float | None = None) -> DoneAndNotDone[F]:
        """Wait for all futures, as `flowcluster.futures.wait` does."""
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
        """Return the results of the runs, in order.

        Args:
            timeout: seconds to wait for all runs; None without a limit.
            raise_on_failure: whether to raise the exception of the first run that ends without completion, without
                waiting for the others. Otherwise the list contains the exceptions.

        Raises:
            TimeoutError: the runs did not end in time.
            BaseException: the exception of a run that did not complete.
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

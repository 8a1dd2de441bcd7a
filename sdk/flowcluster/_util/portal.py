"""Portals: event loops in threads of their own, for async functions that sync code runs.

Each task runner has a portal, so that an async task never waits for a loop that a flow blocks.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from flowcluster._util import guarding

if TYPE_CHECKING:
    import asyncio

_logger = logging.getLogger("flowcluster.task_runner")

T = TypeVar("T")


def run_on_new_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on an event loop of its own, and return its result. Blocks this thread.

    The loop runs in this thread, so that Ctrl-C reaches the coroutine; in another thread if this one runs a loop.
    """
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    outcome: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="flowcluster-flow")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


class Portal:
    """Runs coroutines on an event loop of its own, which starts with the first of them."""

    def __init__(self) -> None:
        # The start of a thread allocates memory. That can start a garbage collection, which can call code of users, and
        # that code can need this lock.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # The loop holds its tasks weakly.
        self._running: set[asyncio.Task[None]] = set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine`, and return its result. Blocks this thread.

        An interrupt of this thread, such as Ctrl-C, also cancels the coroutine.
        """
        import asyncio

        if threading.current_thread() is self._thread:
            # An async task waits for another one: the loop cannot run both.
            return run_on_new_loop(coroutine)
        context = contextvars.copy_context()

        async def main() -> T:
            # A task of its own, so that the coroutine sees the caller's context variables.
            return await asyncio.get_running_loop().create_task(coroutine, context=context)

        future = asyncio.run_coroutine_threadsafe(main(), self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def spawn(self, coroutine: Coroutine[Any, Any, T], done: Callable[[T], None]) -> Callable[[], None]:
        """Run `coroutine` concurrently, and call `done` with its result on the loop's thread.

        The coroutine must not raise, not even when it is cancelled. If the portal closes first, `done` is not called.

        Returns:
            A function that cancels the coroutine.
        """
        import asyncio

        loop = self._started()
        context = contextvars.copy_context()

        async def main() -> None:
            try:
                done(await coroutine)
            except asyncio.CancelledError:
                raise  # before the coroutine began
            except BaseException as error:
                # It must not end the loop, on which other coroutines run.
                _report(error)

        started: list[asyncio.Task[None]] = []

        def start() -> None:
            task = loop.create_task(main(), context=context)
            started.append(task)
            running.add(task)
            task.add_done_callback(running.discard)

        def cancel() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: started[0].cancel())

        running = self._running
        loop.call_soon_threadsafe(start)
        return cancel

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call `function` on the loop's thread after some seconds; never after `close`. It must not raise or block."""
        loop = self._started()
        context = contextvars.copy_context()

        def call() -> None:
            try:
                function()
            except BaseException as error:
                _report(error)

        loop.call_soon_threadsafe(lambda: loop.call_later(seconds, call, context=context))

    def close(self) -> None:
        """Cancel running coroutines, and end the loop and its thread. Further calls do nothing."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            # With a limit: a coroutine that blocks its loop cannot be stopped, only abandoned.
            thread.join(5)

    def _started(self) -> asyncio.AbstractEventLoop:
        if (loop := self._loop) is not None:
            return loop
        import asyncio

        new = asyncio.new_event_loop()
        with self._lock:
            if (loop := self._loop) is None:
                self._loop = new
                self._thread = threading.Thread(target=self._main, args=(new,), name="flowcluster-async", daemon=True)
                self._thread.start()
                return new
        new.close()  # another thread was first, or code of a user that the garbage collector called here
        return loop

    @staticmethod
    def _main(loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            while not _ran_until_stopped(loop):
                pass
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def _ran_until_stopped(loop: asyncio.AbstractEventLoop) -> bool:
    """Run the loop. Return False if something other than `stop` ended it.

    ``sys.exit`` in an ``asyncio.Task`` of a user does that. The coroutine that awaits the task gets the exception, too.
    """
    try:
        loop.run_forever()
    except BaseException as error:
        _report(error)
        return False
    return True


def _report(error: BaseException) -> None:
    guarding.quietly(_logger.error, "The event loop of async tasks continues after an error:", exc_info=error)

"""Waiting for callbacks, in sync and in async code.

Callers pass a function `register`, which gets a callback and calls it once, immediately or later, from any thread.
"""

from __future__ import annotations

import contextvars
import functools
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

Register = Callable[[Callable[[], None]], None]


#: Seconds after which a waiting main thread handles a signal that the kernel delivered to another thread.
SIGNAL_POLL_SECONDS = 0.5

#: Releases the slot of a thread that executes a task while the thread waits for other tasks. So these find a free
#: thread, however many of them wait for each other. If only a special way of waiting releases the slot, the block's
#: value is a function `wait(event, timeout)`, else None.
ThreadSlot = Callable[[], AbstractContextManager[Callable[[threading.Event, float | None], bool] | None]]

_thread = threading.local()


@contextmanager
def occupying_slot(slot: ThreadSlot | None) -> Iterator[None]:
    """Let this thread release its slot whenever it waits in the block."""
    before = current_slot()
    _thread.slot = slot
    try:
        yield
    finally:
        _thread.slot = before


def current_slot() -> ThreadSlot | None:
    """Return the slot that this thread releases while it waits; None without one."""
    slot: ThreadSlot | None = getattr(_thread, "slot", None)
    return slot


def wait_blocking(register: Register, timeout: float | None = None) -> bool:
    """Block this thread until the callback was called. Return False after `timeout` seconds."""
    event = threading.Event()
    register(event.set)
    if event.is_set():
        return True
    slot = current_slot()
    with slot() if slot else nullcontext() as wait:
        return wait(event, timeout) if wait else _wait_interruptibly(event, timeout)


def _wait_interruptibly(event: threading.Event, timeout: float | None) -> bool:
    """Wait for the event, and let the main thread handle signals meanwhile.

    Handlers of signals run in the main thread. If the kernel delivers a signal to another thread, the main thread
    handles it when it runs next. While it waits without a limit, it does not run.
    """
    if timeout is not None or threading.current_thread() is not threading.main_thread():
        return event.wait(timeout)
    while not event.wait(SIGNAL_POLL_SECONDS):
        pass
    return True


async def wait_async(register: Register, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as its twin
    """Wait on the running event loop until the callback was called. Return False after `timeout` seconds."""
    import asyncio

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def arrived() -> None:
        # The loop is closed if the program does not wait any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    register(arrived)
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except TimeoutError:
        return False
    return True


def when_all(registers: Iterable[Register], callback: Callable[[], None]) -> None:
    """Call `callback` when each of `registers` has called back, immediately if there are none."""
    lock = threading.Lock()
    registers = list(registers)
    left = len(registers)

    def one() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left:
                return
        callback()

    for register in registers:
        register(one)
    if not registers:
        callback()


class WaitStrategy(Protocol):
    """How the engine waits and calls functions: `Blocking` in sync code, `Suspending` in async code."""

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Call a function that can take long."""

    async def wait(self, register: Register) -> None:
        """Wait until `register`'s callback was called."""

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""


class Blocking:
    """The strategy for code without an event loop: every wait blocks, and no coroutine suspends."""

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Call it in this thread."""
        return function()

    async def wait(self, register: Register) -> None:
        """Block the thread."""
        wait_blocking(register)

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)  # noqa: ASYNC251 - it is meant to block


def _in_new_thread(function: Callable[[], object]) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(function,), name="flowcluster-call", daemon=True).start()


#: Calls a function in a thread that no other call uses. `flowcluster.runners.threads` replaces it by a thread pool.
call_in_thread: Callable[[Callable[[], object]], object] = _in_new_thread


def _call_for(call: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    """Call the function, and pass its result or exception to the future of a loop in another thread."""
    settle: Callable[[Any], None] = call.set_result
    try:
        value: Any = function()
    except BaseException as error:
        settle, value = call.set_exception, error
    with suppress(RuntimeError):  # the loop is closed: the program does not wait any more
        call.get_loop().call_soon_threadsafe(lambda: None if call.done() else settle(value))


class Suspending:
    """The strategy for code on an event loop: no wait blocks the loop."""

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Call it in another thread.

        The thread is not one of the loop's executor: code of the user can occupy all of these while it waits for this
        call.
        """
        import asyncio

        call = asyncio.get_running_loop().create_future()
        call_in_thread(functools.partial(_call_for, call, function))
        try:
            result: T = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and what it opens must be closed after it.
            await asyncio.wait([call])
            raise
        return result

    async def wait(self, register: Register) -> None:
        """Suspend the coroutine."""
        await wait_async(register)

    async def sleep(self, seconds: float) -> None:
        """Suspend the coroutine."""
        import asyncio

        await asyncio.sleep(seconds)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result: the engine's coroutines in sync code."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("a coroutine suspended in sync code")

"""Waiting for something that announces itself through a callback, from sync and from async code.

Everything that can be waited for here is a function `register` that takes a callback and calls it
once, now or later, from any thread.
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


#: Seconds for which the main thread may wait without hearing of a signal that another thread took.
LISTEN_SECONDS = 0.5

#: What a thread that executes a task gives back to its runner while it waits for other tasks, so that
#: these find a free thread, however many of them wait for each other. The block's value is a function
#: `wait(event, timeout)` where only a certain way of waiting gives the place up, else None.
Place = Callable[[], AbstractContextManager[Callable[[threading.Event, float | None], bool] | None]]

_thread = threading.local()


@contextmanager
def occupying(place: Place | None) -> Iterator[None]:
    """In the block, this thread gives up `place` whenever it waits."""
    before = current_place()
    _thread.place = place
    try:
        yield
    finally:
        _thread.place = before


def current_place() -> Place | None:
    """What this thread gives up while it waits, if anything."""
    place: Place | None = getattr(_thread, "place", None)
    return place


def wait_blocking(register: Register, timeout: float | None = None) -> bool:
    """Block this thread until the callback was called; False if that takes longer than `timeout` seconds."""
    event = threading.Event()
    register(event.set)
    if event.is_set():
        return True
    place = current_place()
    with place() if place else nullcontext() as wait:
        return wait(event, timeout) if wait else _wait_interruptibly(event, timeout)


def _wait_interruptibly(event: threading.Event, timeout: float | None) -> bool:
    """Wait as the event does, and hear of signals meanwhile.

    Their handlers run in the main thread. If the kernel gives a signal to another one, the main thread learns of it
    when it next gets to run: not at all while it waits without a limit.
    """
    if timeout is not None or threading.current_thread() is not threading.main_thread():
        return event.wait(timeout)
    while not event.wait(LISTEN_SECONDS):
        pass
    return True


async def wait_async(register: Register, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as its twin
    """Wait on the running event loop until the callback was called; False after `timeout` seconds."""
    import asyncio

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def arrived() -> None:
        # The loop is closed when the program gave up waiting; nobody listens any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    register(arrived)
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except TimeoutError:
        return False
    return True


def when_all(registers: Iterable[Register], callback: Callable[[], None]) -> None:
    """Call back once all of them have, at once if there are none."""
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


class Colour(Protocol):
    """What the engine needs from the world, once for sync and once for async code."""

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function that may take long."""

    async def wait(self, register: Register) -> None:
        """Wait until `register`'s callback was called."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""


class Blocking:
    """For code without an event loop: everything blocks, and no coroutine ever suspends."""

    async def call(self, function: Callable[[], T]) -> T:
        """Call it, here."""
        return function()

    async def wait(self, register: Register) -> None:
        """Block the thread."""
        wait_blocking(register)

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)  # noqa: ASYNC251 - blocking is what it is for


def _in_new_thread(function: Callable[[], object]) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(function,), name="flowcluster-call", daemon=True).start()


#: Calls a function in a thread that waits for no other call; `flowcluster.runners.threads` keeps threads for it.
call_in_thread: Callable[[Callable[[], object]], object] = _in_new_thread


def _call_for(call: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    """Call the function, and give what it returns or raises to the future of a loop in another thread."""
    settle: Callable[[Any], None] = call.set_result
    try:
        value: Any = function()
    except BaseException as error:
        settle, value = call.set_exception, error
    with suppress(RuntimeError):  # the loop is closed: the program gave up waiting
        call.get_loop().call_soon_threadsafe(lambda: None if call.done() else settle(value))


class Suspending:
    """For code on an event loop: nothing blocks the loop."""

    async def call(self, function: Callable[[], T]) -> T:
        """Call it in another thread.

        Not in one of the loop's executor: code of the user may keep all of these, waiting for what is called here.
        """
        import asyncio

        call = asyncio.get_running_loop().create_future()
        call_in_thread(functools.partial(_call_for, call, function))
        try:
            result: T = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and what it opens has to be closed after it.
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
    """Run a coroutine that never suspends: the engine's one core, in sync code."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("a coroutine suspended where nothing may suspend")

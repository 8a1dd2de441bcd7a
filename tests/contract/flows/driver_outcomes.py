"""Flows for a driver: each way in which one can end, and results of several kinds."""

import os
import signal
import sys
import threading
from typing import Any

from flowcluster import flow, task


@task
def say(text: str) -> str:
    print("say", text, flush=True)
    return text


@task
def bad() -> None:
    raise KeyError("lost key")


@task
def leave(code: int) -> None:
    sys.exit(code)


@flow
def greetings(names: list[str], greeting: str = "hello") -> Any:
    return [say.submit(f"{greeting} {name}") for name in names]


@flow
async def async_greetings(names: list[str]) -> Any:
    return [say.submit(name) for name in names]


@flow
def boom() -> None:
    say.submit("before")
    raise ValueError("no way")


@flow
def child(number: int) -> None:
    pass


@flow
def wrong_child() -> None:
    child("many")  # type: ignore[call-overload] # its failure is the test's subject


@flow
def exits(code: int = 3) -> None:
    sys.exit(code)


@flow
def exits_in_task() -> None:
    leave.submit(4)


@flow
def two_of_three() -> None:
    say.submit("a")
    bad.submit()
    say.submit("b")


@flow
def interrupted() -> None:
    raise KeyboardInterrupt


def raise_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@flow(on_completion=[raise_interrupt])
def interrupted_in_its_hook() -> int:
    return 3


@flow(on_failure=[raise_interrupt])
def failed_and_interrupted_in_its_hook() -> int:
    raise ValueError("no way")


class Stop(BaseException):
    pass


@flow
def stopped() -> None:
    raise Stop("enough")


class Late(Exception):
    pass


is_late = threading.Event()


@task
def too_slow() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    is_late.wait(60)


def raise_late(*_: Any) -> None:
    raise Late("took too long")


@flow(on_failure=[lambda *_: is_late.set()])
def late() -> None:
    signal.signal(signal.SIGUSR1, raise_late)
    too_slow.submit()


@flow
def named() -> str:
    from flowcluster.context import flow_run

    run = flow_run()
    assert run is not None
    return run.name


@flow
def large() -> str:
    return "x" * 10_000


class Point:
    x = 3


@flow
def point() -> Point:
    return Point()


@flow
def unspeakable() -> object:
    return object()


def function() -> None:
    pass

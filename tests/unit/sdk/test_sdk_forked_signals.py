"""Signals of processes that are forked from a process with handlers of its own."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flowcluster._util import fork_signals
from flowcluster.engine import sigterm

FORK: Any = multiprocessing.get_context("fork")


@contextmanager
def handled_by(handler: Any) -> Iterator[None]:
    """Use this handler of SIGTERM in the block."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def hang(started: Any) -> None:
    started.send(signal.getsignal(signal.SIGTERM) == application)
    threading.Event().wait()


def end_by_sigterm() -> int | None:
    """Fork a process, end it as a pool does, and return its exit code; None if it does not end."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=hang, args=[sender])
    process.start()
    receiver.recv()
    process.terminate()
    process.join(20)
    exit_code: int | None = process.exitcode
    process.kill()
    process.join()
    return exit_code


def application(number: int, frame: Any) -> None:
    """A handler that the application chose."""


def of_package(name: str) -> Any:
    def handler(number: int, frame: Any) -> None:
        """Wake up an event loop that does not run in a forked process."""

    handler.__module__ = name
    return handler


@pytest.mark.processes
@pytest.mark.parametrize(
    "handler",
    [
        sigterm.terminate,
        of_package("distributed._signals"),
        of_package("ray._private.worker"),
        of_package("uvloop.loop"),
        functools.partial(of_package("asyncio.runners")),
    ],
    ids=["flowcluster", "distributed", "ray", "uvloop", "asyncio"],
)
def test_forked_process_ends_by_sigterm_when_the_handler_is_of_its_parent(handler: Any) -> None:
    fork_signals.prepare()

    with handled_by(handler):
        assert end_by_sigterm() == -signal.SIGTERM


def test_forked_process_keeps_the_handler_of_the_application() -> None:
    fork_signals.prepare()
    receiver, sender = FORK.Pipe(duplex=False)

    with handled_by(application):
        process = FORK.Process(target=hang, args=[sender])
        process.start()
        is_kept = receiver.recv()
        process.kill()
        process.join()

    assert is_kept


def test_signal_of_a_forked_process_does_not_reach_the_event_loop_of_its_parent() -> None:
    fork_signals.prepare()
    received: list[str] = []

    async def fork() -> int | None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, received.append, "SIGTERM")
        try:
            exit_code = await asyncio.to_thread(end_by_sigterm)
            for _ in range(3):  # the loop reads the signals, then calls handlers
                await asyncio.sleep(0)
            return exit_code
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    assert asyncio.run(fork()) == -signal.SIGTERM
    assert received == []


def outcome_of(program: str, *arguments: str) -> list[str]:
    # From Python 3.12 on, a fork in a process with several threads warns. These programs test exactly that.
    command = [
        sys.executable,
        "-W",
        "ignore:This process:DeprecationWarning",
        "-c",
        textwrap.dedent(program),
        *arguments,
    ]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.processes
@pytest.mark.parametrize("thread", ["main", "other"])
def test_signal_that_arrives_during_the_fork_ends_the_forked_process(thread: str) -> None:
    # The first function after a fork sends the signal, before that of flowcluster replaces the handler.
    program = """
    import os, signal, sys, threading
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
    from flowcluster._util import fork_signals
    from flowcluster.engine import sigterm
    signal.signal(signal.SIGTERM, sigterm.terminate)
    fork_signals.prepare()
    def fork():
        child = os.fork()
        if not child:
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), signal.pthread_sigmask(signal.SIG_BLOCK, []))
    if sys.argv[1] == "main":
        fork()
    else:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """

    assert outcome_of(program, thread) == ["-15", "set()"]


@pytest.mark.processes
def test_signal_that_arrives_while_the_main_thread_forks_reaches_its_process() -> None:
    # Functions before a fork are called in reverse order: the signal is sent after flowcluster's.
    program = """
    import os, signal, threading
    os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
    from flowcluster._util import fork_signals
    from flowcluster.engine import sigterm
    signal.signal(signal.SIGTERM, sigterm.terminate)
    fork_signals.prepare()
    try:
        if not os.fork():
            os._exit(0)
        threading.Event().wait(30)
    except BaseException as error:
        print(type(error).__name__, signal.pthread_sigmask(signal.SIG_BLOCK, []))
    """

    assert outcome_of(program) == ["Terminated", "set()"]

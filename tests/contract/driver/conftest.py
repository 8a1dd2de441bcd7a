"""Flows for a driver, and a driver for them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster import pickling
from flowcluster.cli import driver
from flowcluster.engine import signals

FLOWS = """
import sys
from flowcluster import flow, task, get_run_logger

@task
def say(text):
    print("say", text, flush=True)
    return text

@task
def bad():
    raise KeyError("lost key")

@task
def leave(code):
    sys.exit(code)

@flow
def greetings(names: list[str], greeting: str = "hello"):
    return [say.submit(f"{greeting} {name}") for name in names]

@flow
async def async_greetings(names: list[str]):
    return [say.submit(name) for name in names]

@flow
def boom():
    say.submit("before")
    raise ValueError("no way")

@flow
def child(number: int):
    pass

@flow
def wrong_child():
    child("many")

@flow
def exits(code=3):
    sys.exit(code)

@flow
def exits_in_task():
    leave.submit(4)

@flow
def two_of_three():
    say.submit("a"); bad.submit(); say.submit("b")

@flow
def interrupted():
    raise KeyboardInterrupt

@flow
def named():
    from flowcluster.context import flow_run
    return flow_run().name

@flow
def large():
    return "x" * 10_000

class Point:
    x = 3

@flow
def point():
    return Point()

@flow
def unspeakable():
    return object()

def function():
    pass
"""


@pytest.fixture
def flows(tmp_path: Path) -> str:
    """A file of flows."""
    file = tmp_path / "flows_to_run.py"
    file.write_text(FLOWS)
    return str(file)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the driver in this process and gives the outcome that it left in its file."""
    before = (list(sys.path), set(sys.modules), signal.getsignal(signal.SIGTERM))

    def drive(entrypoint: str, *parameters: str, **environment: str) -> dict[str, Any]:
        file = tmp_path / "outcome.json"
        file.unlink(missing_ok=True)
        outcome = driver.main(entrypoint, parameters, {"FLOWCLUSTER_OUTCOME_PATH": str(file), **environment}).outcome
        told: dict[str, Any] = json.loads(file.read_text())

        assert outcome.exit_code == told["exitCode"]
        return told

    yield drive
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        if name in pickling.scripts:
            del sys.modules[name]
    pickling.scripts.clear()
    signals.on_sigterm.clear()
    signal.signal(signal.SIGTERM, before[2])

"""Tasks that many tests submit."""

from __future__ import annotations

import os
import signal
from typing import Any

from flowcluster import task


@task
def echo(value: Any) -> Any:
    """Return the argument."""
    return value


@task
def where() -> int:
    """Return the pid of the process that executes this task."""
    return os.getpid()


@task
def die() -> None:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)

"""Tasks that many tests submit."""

from __future__ import annotations

import os
import signal
from typing import Any

from flowcluster import task


@task
def echo(value: Any) -> Any:
    """What it is given."""
    return value


@task
def where() -> int:
    """The process that executes it."""
    return os.getpid()


@task
def die() -> None:
    """Its worker does not survive it."""
    os.kill(os.getpid(), signal.SIGKILL)

"""Fixtures for tests of the driver: a file of flows, and a call of the driver."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster.cli import run_command
from flowcluster.engine import sigterm
from flowcluster.project import by_value

FLOWS = Path(__file__).parents[1] / "flows"


@pytest.fixture
def flows() -> str:
    """A file of flows."""
    return str(FLOWS / "driver_outcomes.py")


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Run the driver in this process, and return the outcome that it wrote into its file."""
    before = (list(sys.path), set(sys.modules), signal.getsignal(signal.SIGTERM))

    def drive(entrypoint: str, *parameters: str, **environment: str) -> dict[str, Any]:
        file = tmp_path / "outcome.json"
        file.unlink(missing_ok=True)
        outcome = run_command.main(
            entrypoint, parameters, {"FLOWCLUSTER_OUTCOME_PATH": str(file), **environment}
        ).outcome
        written: dict[str, Any] = json.loads(file.read_text())

        assert outcome.exit_code == written["exitCode"]
        return written

    yield drive
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        if name in by_value.scripts:
            del sys.modules[name]
    by_value.scripts.clear()
    sigterm.on_sigterm.clear()
    signal.signal(signal.SIGTERM, before[2])

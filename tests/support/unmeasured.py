"""The environment of test programs whose coverage is not measured."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Return this process's environment, without the variables with which coverage measures child processes.

    Coverage makes the start of a program that imports Dask or Ray half as long again.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}

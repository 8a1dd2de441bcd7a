"""Programs of the tests whose coverage is not measured."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Return this process's environment, without what lets coverage measure a program that this process starts.

    It adds half of its time to the start of a program that imports Dask or Ray.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}

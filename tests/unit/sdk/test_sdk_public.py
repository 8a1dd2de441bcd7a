"""The public names, and the cost of importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowcluster
import flowcluster.task_runners


def test_public_names_are_in_the_list() -> None:
    """A change of the public names needs a change of this list."""
    assert flowcluster.__all__ == [
        "Flow",
        "Future",
        "Task",
        "allow_failure",
        "flow",
        "get_dask_client",
        "get_run_context",
        "get_run_logger",
        "opaque",
        "quote",
        "remote_options",
        "tags",
        "task",
        "unmapped",
    ]
    assert flowcluster.task_runners.__all__ == [
        "ConcurrentTaskRunner",
        "DaskTaskRunner",
        "RayTaskRunner",
        "SequentialTaskRunner",
        "TaskRunner",
        "remote_options",
    ]


HEAVY = (
    *("dask", "distributed", "ray", "pydantic", "kubernetes", "typer", "rich"),
    *("asyncio", "cloudpickle", "concurrent.futures", "numpy"),
)


@pytest.mark.processes
@pytest.mark.parametrize("module", ["flowcluster", "flowcluster.task_runners", "flowcluster.cli.run_command"])
def test_import_loads_no_slow_module(module: str) -> None:
    """The SDK imports slow modules when it needs them."""
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"

    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []

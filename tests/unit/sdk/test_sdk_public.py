"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowcluster
import flowcluster.task_runners


def test_public_names_are_these() -> None:
    """A name that is added or lost is a decision, not an accident."""
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
def test_import_is_light(module: str) -> None:
    """Nothing that takes long is imported before it is needed."""
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"

    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []

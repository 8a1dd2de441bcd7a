"""Tracebacks without the frames of the SDK, for any folders of the SDK and of the flow's file."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowcluster
from flowcluster._output.tracebacks import is_ours, location
from tests.support.frames import sdk_frames

SDK = Path(flowcluster.__file__).parents[1]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])

from flowcluster import flow, task
from flowcluster.task_runners import SequentialTaskRunner

@task
def fail():
    raise ValueError("boom")

@flow(task_runner=SequentialTaskRunner)
def body():
    fail.submit()

body(return_state=True)
"""


def linked(folder: Path) -> Path:
    """Return a link to the SDK's folder."""
    (folder / "sdk").symlink_to(SDK)
    return folder / "sdk"


def indirect(folder: Path) -> Path:
    """Return a longer path of the SDK's folder, as a program has it that starts from its own file."""
    return folder / os.path.relpath(SDK, folder)


@pytest.mark.processes
@pytest.mark.parametrize("sdk", [linked, indirect, lambda folder: SDK])
@pytest.mark.parametrize("name", ["flowcluster", "Flow Clüster (1)"])
def test_traceback_has_the_frames_of_the_flow_only(tmp_path: Path, name: str, sdk: Callable[[Path], Path]) -> None:
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(sdk(folder))], capture_output=True, encoding="utf-8", check=True
    )

    assert f'File "{program}", line 10, in fail\n    raise ValueError("boom")\n' in done.stderr
    assert sdk_frames(done.stderr) == []


def test_files_of_the_sdk_are_distinguished_from_files_beside_it() -> None:
    package = Path(flowcluster.__file__).parent

    assert is_ours(str(package / "engine" / "run.py"))
    assert not is_ours(str(package.parent / "flowcluster_api" / "names.py"))
    assert not is_ours(str(package.parent.parent / "examples" / "wait.py"))


def raised_in(filename: str) -> BaseException:
    """Return an error from code of that file, which this file calls."""
    names: dict[str, Any] = {}
    exec(compile("def fail(): raise ValueError", filename, "exec"), names)
    try:
        names["fail"]()
    except ValueError as error:
        return error
    raise AssertionError("the code does not fail")


@pytest.mark.parametrize(
    "filename",
    ["/v/lib/python3.13/site-packages/lib/core.py", "/usr/lib/python3/dist-packages/lib/core.py", traceback.__file__],
)
def test_location_is_not_in_an_installed_package(filename: str) -> None:
    found = location(raised_in(filename))

    assert found is not None
    assert found.startswith("test_sdk_tracebacks.py:")
    assert found.endswith(" in raised_in")


def test_location_is_in_the_file_of_the_flow() -> None:
    assert location(raised_in("/home/me/Flow Clüster/flowcluster/flows.py")) == "flows.py:1 in fail"

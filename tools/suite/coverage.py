"""Branch coverage of a run, including the processes that its tests start."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Sequence

from tools.suite.commands import words
from tools.suite.parts import BUILD, ROOT

#: Folder in which each process writes its data.
_FOLDER = BUILD / "coverage"
_JSON = BUILD / "coverage.json"


def measured(command: Sequence[str]) -> list[str]:
    """Return the command that runs a module with its arguments, and measures the coverage."""
    return ["coverage", "run", "--module", *command]


def environment() -> dict[str, str]:
    """Return this process's environment, with the path of the data."""
    return {**os.environ, "COVERAGE_FILE": str(_FOLDER / "data")}


def clear() -> None:
    """Delete the data of earlier runs."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for old in _FOLDER.iterdir():
        old.unlink()


def report() -> bool:
    """Print the total and the modules below the floor. Return whether the total reaches the floor."""
    if not (_coverage("combine", "--quiet", str(_FOLDER)) and _coverage("json", "--quiet", "-o", str(_JSON))):
        return False
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]["fail_under"]
    measured = json.loads(_JSON.read_text())
    total = measured["totals"]["percent_covered"]
    below = {
        name: percent
        for name, file in measured["files"].items()
        if (percent := file["summary"]["percent_covered"]) < floor
    }
    print(f"branch coverage {total:.1f} %, floor {floor} %")
    for name, percent in sorted(below.items(), key=lambda item: item[1]):
        print(f"{percent:8.1f}  {name}")
    if total < floor:
        print(f"below the floor; missing lines: COVERAGE_FILE={_FOLDER / 'data'} coverage report -m")
    return bool(total >= floor)


def _coverage(*arguments: str) -> bool:
    command = words(["coverage", *arguments])
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode in (0, 2)

"""The examples, run as a user runs them, and the lines that they print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

GREETINGS = [f"{word} {name}" for name in ("arthur", "trillian", "ford", "marvin") for word in ("hello", "goodbye")]

# Where another program has Dask's usual dashboard port, a second cluster warns about taking another one.
QUIET = ["-W", "ignore:Port 8787 is already in use"]


def run(*command: str) -> list[str]:
    """The lines that a program prints on stdout; its log goes to stderr."""
    return printed(*command).splitlines()


def printed(*command: str) -> str:
    """What a program prints on stdout.

    Where several tasks print at the same time, a line can come before the end of another.
    """
    done = subprocess.run([sys.executable, *QUIET, *command], capture_output=True, text=True, cwd=EXAMPLES)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr.replace("Traceback (most recent call last):\n  File", "", 1)
    return done.stdout


@pytest.mark.parametrize("name", ["sequential_flow", "direct_calls"])
def test_lines_in_order(name: str) -> None:
    """A sequential runner, and direct calls whatever the runner, keep the order of the loop."""
    assert run(f"{name}.py") == GREETINGS


def test_lines_in_parallel() -> None:
    """On Dask every line is there, although the flow waits for none of them."""
    text = printed("dask_flow.py")

    assert sorted(re.findall("|".join(GREETINGS), text)) == sorted(GREETINGS)
    assert not re.sub("|".join(GREETINGS), "", text).strip()


def test_elevator_stops_at_the_first_floor_first() -> None:
    """All floors are under way at the same time, so the nearest is reached first."""
    text = printed("-m", "flowcluster.cli.main", "run", "elevator.py:elevator", "-p", "seconds_per_floor=0.1")

    assert sorted(re.findall(r"elevator moving to floor (\d+)", text), key=int) == [str(n) for n in range(1, 11)]
    assert re.findall(r"elevator stops on floor (\d+)", text) == [str(floor) for floor in range(1, 11)]


def test_glass_tower_stops_at_every_floor_in_order() -> None:
    """Thirty-eight submissions, in the order of submission."""
    lines = run("glass_tower.py")

    assert [line.split(" which is ")[0] for line in lines] == [f"elevator stops on {floor}" for floor in range(1, 39)]


def test_subflow_comes_between_its_neighbours() -> None:
    """The parent goes on when the subflow on its own cluster has ended."""
    assert run("dask_subflow.py") == ["Hello!", "Hello from Dask!", "Hello!"]


def test_futures_give_states_and_values() -> None:
    """Type, value as argument, result, failure, wait and order."""
    assert run("using_futures.py") == [
        "variable 'future' is type <class 'flowcluster.futures.TaskFuture'>",
        "<class 'str'>",
        "Hello Marvin!",
        "Hello Marvin! Nice to meet you :)",
        "failed: ValueError('no such floor')",
        "Hello Arthur!",
        "step a",
        "step b",
        "step c",
    ]


def test_annotated_tasks_run() -> None:
    """Tasks with priorities, and one that needs a resource which a worker has."""
    text = printed("dask_annotations.py")

    assert sorted(re.findall("high priority|low priority|one GPU", text)) == [
        "high priority",
        "low priority",
        "one GPU",
    ]


def test_collections_on_the_runs_cluster() -> None:
    """The same mean, computed by a task and by the flow."""
    assert run("dask_collections.py") == ["499.5 499.5"]


def test_every_example_is_tested() -> None:
    """No file in the directory is forgotten here."""
    source = Path(__file__).read_text()

    assert [file.name for file in EXAMPLES.glob("*.py") if file.stem not in source] == []

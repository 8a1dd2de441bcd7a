"""Cached results: later runs and other processes use them, and runs with the same key compute one result."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.task_runners import ConcurrentTaskRunner

PROGRAM = """
import functools
from flowcluster import flow, task
from flowcluster.tasks import task_input_hash
import beside

class Row:
    def __init__(self, *fields): self.fields = set(fields)

executed = []

@task(cache_key_fn=task_input_hash)
def compute(value):
    from beside import late
    executed.append(1)
    return [(lambda y: y)(x) for x in sorted(value.fields)] and {"a", "b"} and beside.helper(1)

@flow
def main():
    compute.submit(Row("x", "y", "z")).result()

main()
print(len(executed))
"""


@pytest.mark.processes
def test_other_processes_hit_until_a_helper_is_edited(tmp_path: pathlib.Path) -> None:
    """The processes have other hash seeds. The helper is a function in another file of the project."""
    (tmp_path / "program.py").write_text(PROGRAM)
    beside = tmp_path / "beside.py"

    def executed(seed: str) -> str:
        environment = {
            **os.environ,
            "FLOWCLUSTER_RESULT_STORAGE": f"{tmp_path}/results",
            "PYTHONHASHSEED": seed,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, str(tmp_path / "program.py")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    beside.write_text("def helper(x): return x + 1\ndef late(): pass\n")
    first = [executed("1"), executed("2")]
    beside.write_text("def helper(x): return x + 2\ndef late(): pass\n")
    second = executed("3")
    beside.write_text("def helper(x): return x + 2\ndef late(): return 1\n")

    assert (first, second, executed("4")) == (["1", "0"], "1", "1")


def test_runs_with_one_key_at_the_same_time_execute_once(tmp_path: pathlib.Path) -> None:
    """This holds for async runs, too, and when the first run waits for a task that it submits."""
    executed: list[str] = []
    options: Any = {"cache_key_fn": lambda run, arguments: run.task_name, "result_storage": str(tmp_path)}
    all_submitted = threading.Event()

    @task
    def child() -> int:
        return 1

    @task(**options)
    def parent() -> int:
        all_submitted.wait(20)
        executed.append("parent")
        return child.submit().result()

    @task(**options)
    async def later() -> int:
        import asyncio

        executed.append("later")
        await asyncio.sleep(0.01)
        return 2

    @flow(task_runner=ConcurrentTaskRunner(max_workers=2))
    def body() -> Any:
        futures = [each.submit() for each in (parent, later) for _ in range(6)]
        all_submitted.set()
        return [future.result() for future in futures], {future.state.name for future in futures}

    results, names = body()
    assert results == [1] * 6 + [2] * 6
    assert sorted(executed) == ["later", "parent"]
    assert names == {"Completed", "Cached"}
    assert not list(tmp_path.glob("*.lock"))


def test_runs_with_one_key_execute_each_when_the_first_fails_or_cannot_be_stored(tmp_path: pathlib.Path) -> None:
    executed: list[str] = []
    options: Any = {"cache_key_fn": lambda run, arguments: arguments["way"], "result_storage": str(tmp_path)}

    @task(**options)
    def work(way: str) -> Any:
        executed.append(way)
        if way == "fails":
            raise ValueError(way)
        return threading.Lock()

    @flow(task_runner=ConcurrentTaskRunner(max_workers=4))
    def body() -> Any:
        futures = [work.submit(way) for way in ("fails", "unstored") for _ in range(3)]
        return [future.wait(20).name for future in futures]  # type: ignore[union-attr]

    assert body() == ["Failed"] * 3 + ["Completed"] * 3
    assert sorted(executed) == ["fails"] * 3 + ["unstored"] * 3


LOCKING = """
import sys, time
from flowcluster import flow, task

@task(cache_key_fn=lambda run, arguments: "one key", result_storage=sys.argv[1])
def compute():
    with open(sys.argv[1] + "/executed", "a") as file:
        file.write("x")
    time.sleep(0.3)
    return 1

@flow
def main():
    compute.submit().result()

main()
"""


@pytest.mark.processes
def test_processes_that_share_a_folder_execute_one_key_once(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", LOCKING, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0] * 3
    assert (tmp_path / "executed").read_text() == "x"

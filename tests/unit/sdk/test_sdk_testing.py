"""The tools for tests of flows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import flowcluster
from flowcluster import flow, get_run_context, task
from flowcluster.task_runners import DaskTaskRunner, SequentialTaskRunner
from flowcluster.testing import PicklingTaskRunner, replaced_task_runners

DOCS = Path(flowcluster.__file__).parents[2] / "docs" / "how-to" / "test-flows.md"
LOCK = threading.Lock()


def run(body: Any) -> Any:
    """Call the body of a flow on the runner that pickles."""
    return flow(task_runner=PicklingTaskRunner)(body)()


def runner_name() -> str:
    """Return the class of the task runner of the flow that calls this."""
    run: Any = get_run_context()
    return type(run.runner).__name__


@pytest.mark.processes
def test_pytest_runs_the_example_of_the_documentation(tmp_path: Path) -> None:
    code = next(code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "harness" in code)
    (tmp_path / "test_report.py").write_text(code)
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "flowcluster.pytest_plugin", "test_report.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.processes
def test_testing_is_imported_without_pytest() -> None:
    program = "import sys; sys.modules['pytest'] = None; import flowcluster.testing"

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_task_gets_and_returns_copies() -> None:
    @task
    def append(items: list[int], *, box: dict[str, Any]) -> Any:
        items.append(2)
        box["changed"] = True
        return items

    @task
    async def append_async(items: list[int]) -> Any:
        items.append(3)
        return items

    def body() -> Any:
        items, box = [1], {"changed": False}
        first = append.submit(items, box=box)
        return items, box, first.result(), append_async.submit(first).result(), first.result()

    assert run(body) == ([1], {"changed": False}, [1, 2], [1, 2, 3], [1, 2])


class TwoArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class Locked(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: TwoArguments(4, "not found"), "TwoArguments", "4 not found"),
        (lambda: Locked("No rows."), "RemoteError", "Locked: No rows."),
    ],
    ids=["own arguments", "attribute that cannot be pickled"],
)
def test_exceptions_are_raised_as_from_a_worker(make: Any, kind: str, text: str) -> None:
    @task
    def fail() -> None:
        raise make()

    def body() -> Any:
        state = fail.submit().wait()
        assert state is not None
        found = state.exception()
        return type(found).__name__, str(found), type(found.__cause__).__name__ if found else None

    assert run(body) == (kind, text, "RemoteTraceback")


def test_object_that_cannot_be_sent_is_reported() -> None:
    @task
    def uses_a_lock() -> None:
        with LOCK:
            pass

    @task
    def takes(value: Any) -> None:
        pass

    @task
    def makes_a_lock() -> Any:
        return threading.Lock()

    def body() -> Any:
        futures: list[Any] = [uses_a_lock.submit, lambda: takes.submit(LOCK), makes_a_lock.submit]
        return [str(future().result(raise_on_failure=False)) for future in futures]

    texts = run(body)

    assert "its function uses the global 'LOCK'" in texts[0]
    assert "Argument 'value', of type lock, cannot be sent to a worker" in texts[1]
    assert "cannot pickle '_thread.lock' object" in texts[2]


def test_tasks_submit_tasks_and_have_the_context_of_their_run() -> None:
    @task
    def leaf(number: int) -> tuple[int, str]:
        return number, get_run_context().name.partition("-")[0]

    @task(retries=1)
    def parent(numbers: list[int]) -> Any:
        if get_run_context().run_count == 1:
            raise ValueError("once")
        return [future.result() for future in leaf.map(numbers)]

    def body() -> Any:
        return [future.result() for future in parent.map([[1, 2], [3]])]

    assert run(body) == [[(1, "leaf"), (2, "leaf")], [(3, "leaf")]]


def test_flows_and_subflows_use_the_replacement() -> None:
    names: list[str] = []

    @flow(task_runner=DaskTaskRunner(address="tcp://unreachable.invalid:8786"))
    def inner() -> None:
        names.append(runner_name())

    @flow
    def outer() -> None:
        names.append(runner_name())
        if names[-1] != "ConcurrentTaskRunner":
            inner()

    with replaced_task_runners() as runner:
        outer()
        assert not runner.is_open
    with replaced_task_runners(SequentialTaskRunner()):
        outer()
    outer()

    assert names == [*["PicklingTaskRunner"] * 2, *["SequentialTaskRunner"] * 2, "ConcurrentTaskRunner"]

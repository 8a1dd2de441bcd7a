"""The public interface for task runners and options of users."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import flowcluster
from flowcluster import Future, flow, states, task
from flowcluster.futures import TaskFuture
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner

DOCS = Path(flowcluster.__file__).parents[2] / "docs" / "how-to" / "own-task-runner.md"


def test_runner_of_the_documentation_runs_tasks() -> None:
    code = next(
        code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "TaskRunner)" in code
    )
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(code, names)

    assert names["doubled"]([1, 2, 3]) == [2, 4, 6]
    assert names["doubled"].task_runner.duplicate().size == 2


class Private(SequentialTaskRunner):
    _opened: Any = None

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def open(self) -> None:
        super().open()
        self._opened = lambda: None


def test_private_configuration_of_a_runner_is_kept() -> None:
    runner = Private(3)
    runner.open()
    try:
        for made in (runner.duplicate(), pickle.loads(pickle.dumps(runner))):
            assert (made._limit, made._opened, made.is_open) == (3, None, False)
    finally:
        runner.close()
    assert Private(3) == Private(3) != Private(4)


class Minimal(TaskRunner):
    def submit(self, call: Any, done: Any) -> None:
        done(call.run(self.portal))


def test_runner_needs_no_more_than_submit() -> None:
    @task
    def one() -> int:
        return 1

    def body() -> Any:
        return one.submit()

    assert flow(task_runner=Minimal)(body)() == 1


def test_futures_have_a_public_name() -> None:
    assert Future is TaskFuture


@pytest.mark.parametrize("decorate", [flow, task])
def test_description_and_version_are_texts_for_users(decorate: Any) -> None:
    def plain() -> None:
        """What it does."""

    assert (decorate(plain).description, decorate(plain).version) == ("What it does.", None)
    made = decorate(description="Other.", version="2")(plain)
    assert (made.description, made.version) == ("Other.", "2")
    with pytest.raises(TypeError, match="version must be a string, not 2"):
        decorate(version=2)(plain)


@pytest.mark.parametrize("decorate", [flow, task])
@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("persist_result", "result_storage"),
        ("cache_policy", "cache_key_fn=task_input_hash"),
        ("retry_condition_fn", "called retry_condition here"),
        ("on_running", "get_run_logger"),
    ],
)
def test_option_of_other_tools_is_refused_with_the_option_of_flowcluster(
    decorate: Any, option: str, instead: str
) -> None:
    with pytest.raises(TypeError, match=f"has no option '{option}': .*{instead}"):
        decorate(**{option: True})(lambda: None)


@pytest.mark.parametrize(
    ("decorate", "option", "instead"),
    [
        (flow, "result_storage", "FLOWCLUSTER_RESULT_STORAGE"),
        (task, "on_crashed", "on_failure is called"),
        (task, "on_cancellation", "add_done_callback"),
    ],
)
def test_option_of_flows_or_tasks_only_is_refused_with_the_alternative(
    decorate: Any, option: str, instead: str
) -> None:
    with pytest.raises(TypeError, match=f"has no option '{option}': .*{instead}"):
        decorate(**{option: True})(lambda: None)


@pytest.mark.parametrize("runner", [SequentialTaskRunner, ConcurrentTaskRunner])
def test_task_that_returns_a_state_ends_in_it(runner: Any) -> None:
    @task(retries=1)
    def says(state: Any) -> Any:
        calls.append(1)
        return flowcluster.states.failed("No rows.") if state == "failed" else states.completed(5)

    calls: list[int] = []

    @flow(task_runner=runner)
    def body() -> Any:
        failed, fine = says.submit("failed"), says.submit("completed")
        direct = says("failed", return_state=True)
        return [str(failed.wait()), fine.result(), str(direct)]

    assert body() == ["Failed('No rows.')", 5, "Failed('No rows.')"]
    assert len(calls) == 5

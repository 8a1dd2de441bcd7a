"""Names, tags and hooks of runs, on every task runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import flow, get_run_context, tags, task
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner
from tests.support.tasks import echo


@task(task_run_name="load-{table}-{part:02d}")
def load(table: str, part: int = 7) -> str:
    return get_run_context().name


@task(tags=["slow", "big"])
def own_tags() -> Any:
    return get_run_context().tags


@task
def fail() -> None:
    raise ValueError("boom")


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_task_run_is_named_after_its_arguments(runner: TaskRunner) -> None:
    """A template over the arguments, with their defaults, names the run. The task can read the name."""

    def body() -> Any:
        future = load.submit("users")
        return future.name, future.result(), load("items", part=3)

    assert run(runner, body) == ("load-users-07", "load-users-07", "load-items-03")


def test_two_runs_can_have_one_name(runner: TaskRunner) -> None:
    """Runs of one name have separate results."""

    def body() -> Any:
        return [load.submit("users") for _ in range(2)]

    assert run(runner, body) == ["load-users-07"] * 2


def test_name_after_a_result_waits_for_it(runner: TaskRunner) -> None:
    """A template that names an argument that is a future is filled in with its result."""

    def body() -> Any:
        return load.submit(echo.submit("users"), 1)

    assert run(runner, body) == "load-users-01"


def test_function_names_runs() -> None:
    """`task_run_name` can be a function that returns the name of each run."""

    def body() -> Any:
        return load.with_options(task_run_name=lambda: "mine").submit("users")

    assert run(SequentialTaskRunner(), body) == "mine"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "load-{tables}",
            "task_run_name 'load-{tables}' names 'tables', which is not an argument; there are: table, part.",
        ),
        ("{part:x.y}", "task_run_name '{part:x.y}' cannot be filled in"),
        (lambda: 3, "task_run_name must give a string that is not empty, not 3."),
    ],
)
def test_submit_raises_when_the_run_name_template_cannot_be_filled_in(template: Any, message: str) -> None:
    """The error has the template and the names that it can use."""

    def body() -> None:
        with pytest.raises(ValueError, match="task_run_name") as wrong:
            load.with_options(task_run_name=template).submit("users")
        assert message in str(wrong.value)

    run(SequentialTaskRunner(), body)


def test_invalid_run_name_template_is_refused() -> None:
    """The decorator raises for a brace that is not closed."""
    with pytest.raises(ValueError, match="task_run_name is not a template"):
        task(task_run_name="load-{table")(print)


def test_flow_run_is_named_after_its_parameters(lines: Any) -> None:
    """A template over the parameters names the flow run from its first log line on."""

    @flow(flow_run_name="load-{table}-{part}")
    def body(table: str, part: int = 1) -> str:
        return get_run_context().name

    assert body("users") == "load-users-1"
    assert lines()[0] == "flowcluster.engine - Created flow run 'load-users-1' for flow 'body'"


def test_tags_reach_the_task(runner: TaskRunner) -> None:
    """A task run has the tags of the task, of the block around the submission and of the flow."""

    def body() -> Any:
        with tags("nightly", "slow"):
            return own_tags.submit()

    assert run(runner, body, tags=["prod"]) == ("big", "slow", "prod", "nightly")


def test_hooks_see_how_runs_ended(runner: TaskRunner) -> None:
    """Hooks run in the flow's process before it continues, with task, run and state. Exceptions are ignored."""
    seen: list[Any] = []

    def note(task: Any, run: Any, state: Any) -> None:
        seen.append((task.name, run.name.split("-")[0], state.name))

    def broken(task: Any, run: Any, state: Any) -> None:
        raise KeyError("broken hook")

    def body() -> str:
        echo.with_options(on_completion=[broken, note], on_failure=[note]).submit(1).wait()
        fail.with_options(on_completion=[note], on_failure=[note], retries=2).submit().wait()
        return "done"

    assert run(runner, body) == "done"
    assert seen == [("echo", "echo", "Completed"), ("fail", "fail", "Failed")]


def test_hooks_of_flows() -> None:
    """A flow has a list of hooks for each way in which a flow run ends."""
    seen: list[Any] = []

    def note(flow: Any, run: Any, state: Any) -> None:
        seen.append((flow.name, run.parameters, state.type.value))

    def ends(how: str = "well") -> None:
        if how == "badly":
            raise ValueError("boom")
        if how == "interrupted":
            raise KeyboardInterrupt

    each = flow(on_completion=[note], on_failure=[note], on_crashed=[note], on_cancellation=[note])(ends)
    each()
    each("badly", return_state=True)
    with pytest.raises(KeyboardInterrupt):
        each(how="interrupted")

    assert seen == [
        ("ends", {"how": "well"}, "COMPLETED"),
        ("ends", {"how": "badly"}, "FAILED"),
        ("ends", {"how": "interrupted"}, "CANCELLED"),
    ]


def test_task_in_a_class_is_a_method(runner: TaskRunner) -> None:
    """The instance is the first argument, however the task is called."""

    class Doubler:
        factor = 2

        @task
        def double(self, value: int) -> int:
            return self.factor * value

    def body() -> Any:
        return Doubler().double.submit(4).result(), Doubler().double(5), Doubler().double.map([1, 2])

    assert run(runner, body) == (8, 10, [2, 4])


def test_with_options_does_not_change_the_original() -> None:
    """`with_options` returns a copy with the given options."""
    copy = load.with_options(retries=2, name="other")

    assert (copy.spec.retries, copy.name, copy.spec.run_name) == (2, "other", load.spec.run_name)
    assert (load.spec.retries, load.name) == (0, "load")
    assert flow(retries=3)(print).with_options(name="x").spec.retries == 3


def test_bounded_pool_runs_everything() -> None:
    """Submissions beyond the number of threads are queued."""

    def body() -> Any:
        return echo.map(range(50))

    assert run(ConcurrentTaskRunner(max_workers=2), body) == list(range(50))

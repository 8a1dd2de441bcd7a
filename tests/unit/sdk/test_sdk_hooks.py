"""Arguments of the hooks and conditions of users."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from flowcluster import Flow, Task, flow, get_run_context, task
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner


@pytest.mark.parametrize("runner", [SequentialTaskRunner, ConcurrentTaskRunner])
def test_hooks_and_conditions_get_the_task_and_its_run(runner: Any) -> None:
    seen: list[Any] = []
    contexts: list[Any] = []

    def note(task: Any, run: Any, state: Any) -> bool:
        seen.append((task, (run.name, run.run_count, run.tags), state.type.value))
        return True

    @task(retries=1, retry_condition=note, on_failure=[note], on_completion=[note], tags=["x"])
    def unstable(fails: bool) -> None:
        run = get_run_context()
        contexts.append((run.name, run.run_count, run.tags))
        if fails:
            raise ValueError

    @flow(task_runner=runner)
    def body() -> None:
        for fails in (True, False):
            unstable.submit(fails).wait()
        unstable(False)

    body(return_state=True)

    assert [what for what, _, _ in seen] == [unstable] * 4
    assert isinstance(unstable, Task)
    assert [run for _, run, _ in seen] == contexts[:1] + contexts[1:4]
    assert [kind for _, _, kind in seen] == ["FAILED", "FAILED", "COMPLETED", "COMPLETED"]


def test_hooks_and_conditions_get_the_flow_and_its_run() -> None:
    seen: list[Any] = []

    def note(flow: Any, run: Any, state: Any) -> bool:
        seen.append((flow, run.name, run.run_count, run.tags, run.flow_name, run.parameters))
        return True

    @flow(retries=1, retry_condition=note, on_failure=[note], tags=["x"])
    def fails(number: int) -> None:
        raise ValueError(number)

    fails(3, return_state=True)

    assert [what for what, *_ in seen] == [fails, fails]
    assert [rest for _, _, *rest in seen] == [[count, ("x",), "fails", {"number": 3}] for count in (1, 2)]
    assert isinstance(fails, Flow)


def test_hook_gets_a_task_with_the_same_options_when_the_task_is_freed() -> None:
    seen: list[Any] = []

    def keep(task: Any, run: Any, state: Any) -> None:
        seen.append(task)

    @task
    def work() -> None: ...

    @flow(task_runner=ConcurrentTaskRunner)
    def body() -> None:
        future = work.with_options(name="other", on_completion=[keep]).submit()
        gc.collect()
        future.wait()

    body()

    assert [(type(one), one.name, one.fn) for one in seen] == [(Task, "other", work.fn)]

"""Results that runs share through a cache, on every task runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.task_runners import SequentialTaskRunner, TaskRunner
from flowcluster.tasks import task_input_hash
from tests.support.meeting import Desk, Gate, note, wait_at
from tests.support.tasks import echo


def by_arguments(run: Any, arguments: dict[str, Any]) -> str:
    return f"{run.task_name}-{arguments['value']}-{arguments['power']}"


@task(cache_key_fn=by_arguments)
def raise_to(value: int, address: str, power: int = 2) -> int:
    note(address, "executed")
    if value < 0:
        raise ValueError("negative")
    return int(value**power)


@pytest.fixture
def cached(tmp_path: Path) -> Any:
    """A task with a cache of its own, on the machine that executes it."""
    return raise_to.with_options(result_storage=str(tmp_path / "results"))


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_equal_keys_share_one_execution(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """Results replace futures in the key. The second run is Cached, in this flow run and in the next one."""

    def body() -> Any:
        first = cached.submit(3, desk.address).wait()
        second = cached.submit(echo.submit(3), desk.address).wait()
        other = cached.submit(4, desk.address).wait()
        return [(state.name, state.result()) for state in (first, second, other)]

    assert run(runner, body) == [("Completed", 9), ("Cached", 9), ("Completed", 16)]
    assert [name for name, _ in run(runner, body)] == ["Cached"] * 3
    assert desk.notes == ["executed"] * 2


@task(cache_key_fn=lambda *_: "one key")
def held_up(gate: str, desk: str) -> int:
    note(desk, "executed")
    wait_at(gate)
    return 9


@pytest.mark.one_machine
def test_runs_with_one_key_at_the_same_time_share_one_execution(
    parallel_runner: TaskRunner, tmp_path: Path, desk: Desk, gate: Gate
) -> None:
    """This holds in threads of one worker, and in processes that share a folder."""
    shared = held_up.with_options(result_storage=str(tmp_path / "results"))

    def body() -> Any:
        futures = [shared.submit(gate.address, desk.address) for _ in range(4)]
        gate.open()
        return sorted(future.wait().name for future in futures), [future.result() for future in futures]

    assert run(parallel_runner, body) == (["Cached"] * 3 + ["Completed"], [9] * 4)
    assert desk.notes == ["executed"]


def test_cached_result_reaches_the_downstream_task(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """A downstream task gets the same value, whether the result was computed or read from the cache."""

    def body() -> Any:
        cached.submit(3, desk.address).wait()
        return echo.submit([cached.submit(3, desk.address)])

    assert run(runner, body) == [9]


def test_failures_are_not_cached(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """A run that failed is executed again next time."""

    def body() -> Any:
        return [cached.submit(-1, desk.address).wait().name for _ in range(2)]

    assert run(runner, body) == ["Failed", "Failed"]
    assert desk.notes == ["executed"] * 2


def test_task_is_executed_again_when_its_cached_result_is_expired_or_refreshed(cached: Any, desk: Desk) -> None:
    """The new result replaces the one in the cache."""

    def body() -> Any:
        expiring = cached.with_options(cache_expiration=0)
        fresh = cached.with_options(refresh_cache=True)
        return [one.submit(3, desk.address).wait().name for one in (expiring, expiring, fresh, cached)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Completed", "Completed", "Cached"]


def test_task_input_hash_differs_by_task_and_arguments(desk: Desk, tmp_path: Path) -> None:
    """Equal arguments of two tasks, and other arguments of one task, have different keys."""
    options: Any = {"cache_key_fn": task_input_hash, "result_storage": f"file://{tmp_path}/results"}

    def body() -> Any:
        one, other = raise_to.with_options(**options), echo.with_options(**options)
        runs = [one.submit(1, desk.address), one.submit(1, desk.address), one.submit(2, desk.address), other.submit(1)]
        return [future.wait().name for future in runs]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Cached", "Completed", "Completed"]


def test_run_is_not_cached_when_the_key_is_none(cached: Any, desk: Desk) -> None:
    """A key function can exclude a run from the cache by returning None."""

    def body() -> Any:
        never = cached.with_options(cache_key_fn=lambda run, arguments: None)
        return [never.submit(3, desk.address).wait().name for _ in range(2)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Completed"]


def test_cache_uses_any_fsspec_storage(desk: Desk) -> None:
    """The URL selects the storage."""

    def body() -> Any:
        task = raise_to.with_options(result_storage="memory://results-of-a-test")
        return [task.submit(3, desk.address).wait().name for _ in range(2)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Cached"]


def test_unusable_cache_is_logged_and_the_task_is_executed(desk: Desk, lines: Any) -> None:
    """A run without a usable storage completes without the cache."""

    def body() -> Any:
        return raise_to.with_options(result_storage="nowhere://x").submit(3, desk.address)

    assert run(SequentialTaskRunner(), body) == 9
    assert any("Results cannot be kept in 'nowhere://x'" in line for line in lines())


def test_key_of_a_wrong_type_fails_the_run(cached: Any, desk: Desk) -> None:
    """The state names the function and the value that it returned."""

    def body() -> Any:
        return cached.with_options(cache_key_fn=lambda run, arguments: 3).submit(3, desk.address).wait().message

    assert "cache_key_fn of task 'raise_to' must give a string or None, not 3" in run(SequentialTaskRunner(), body)

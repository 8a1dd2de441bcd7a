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
    """The task with a cache of its own, on the machine where it is executed."""
    return raise_to.with_options(result_storage=str(tmp_path / "results"))


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_equal_keys_share_one_execution(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """The key is made of results in place of futures; the second run is Cached, in this flow run and in the next."""

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
    """In threads of one worker, and in processes that share a folder."""
    shared = held_up.with_options(result_storage=str(tmp_path / "results"))

    def body() -> Any:
        futures = [shared.submit(gate.address, desk.address) for _ in range(4)]
        gate.open()
        return sorted(future.wait().name for future in futures), [future.result() for future in futures]

    assert run(parallel_runner, body) == (["Cached"] * 3 + ["Completed"], [9] * 4)
    assert desk.notes == ["executed"]


def test_cached_result_goes_on_to_the_next_task(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """Whether a result was computed or found makes no difference to who uses it."""

    def body() -> Any:
        cached.submit(3, desk.address).wait()
        return echo.submit([cached.submit(3, desk.address)])

    assert run(runner, body) == [9]


def test_failures_are_not_cached(runner: TaskRunner, cached: Any, desk: Desk) -> None:
    """A run that failed is executed anew next time."""

    def body() -> Any:
        return [cached.submit(-1, desk.address).wait().name for _ in range(2)]

    assert run(runner, body) == ["Failed", "Failed"]
    assert desk.notes == ["executed"] * 2


def test_refresh_and_expiry_execute_anew(cached: Any, desk: Desk) -> None:
    """A result that expired or is to be refreshed is replaced."""

    def body() -> Any:
        expiring = cached.with_options(cache_expiration=0)
        fresh = cached.with_options(refresh_cache=True)
        return [one.submit(3, desk.address).wait().name for one in (expiring, expiring, fresh, cached)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Completed", "Completed", "Cached"]


def test_key_of_all_inputs(desk: Desk, tmp_path: Path) -> None:
    """`task_input_hash` tells arguments and tasks apart."""
    options: Any = {"cache_key_fn": task_input_hash, "result_storage": f"file://{tmp_path}/results"}

    def body() -> Any:
        one, other = raise_to.with_options(**options), echo.with_options(**options)
        runs = [one.submit(1, desk.address), one.submit(1, desk.address), one.submit(2, desk.address), other.submit(1)]
        return [future.wait().name for future in runs]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Cached", "Completed", "Completed"]


def test_no_key_means_no_cache(cached: Any, desk: Desk) -> None:
    """A key function may leave a run out."""

    def body() -> Any:
        never = cached.with_options(cache_key_fn=lambda run, arguments: None)
        return [never.submit(3, desk.address).wait().name for _ in range(2)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Completed"]


def test_any_fsspec_storage_will_do(desk: Desk) -> None:
    """The URL decides where results are."""

    def body() -> Any:
        task = raise_to.with_options(result_storage="memory://results-of-a-test")
        return [task.submit(3, desk.address).wait().name for _ in range(2)]

    assert run(SequentialTaskRunner(), body) == ["Completed", "Cached"]


def test_cache_that_cannot_be_used_is_told_and_passed_by(desk: Desk, lines: Any) -> None:
    """A wrong storage costs the cache, not the run."""

    def body() -> Any:
        return raise_to.with_options(result_storage="nowhere://x").submit(3, desk.address)

    assert run(SequentialTaskRunner(), body) == 9
    assert any("Results cannot be kept in 'nowhere://x'" in line for line in lines())


def test_key_of_a_wrong_type_fails_the_run(cached: Any, desk: Desk) -> None:
    """The state names the function and what it gave."""

    def body() -> Any:
        return cached.with_options(cache_key_fn=lambda run, arguments: 3).submit(3, desk.address).wait().message

    assert "cache_key_fn of task 'raise_to' must give a string or None, not 3" in run(SequentialTaskRunner(), body)

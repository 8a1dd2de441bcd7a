"""Each run ends in the documented state, regardless of the exceptions that code of users raises."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.runners import pickled_exceptions
from flowcluster.states import State, StateType
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner
from tests.support import hostile

RUNNERS = {"threads": ConcurrentTaskRunner(max_workers=2), "sequential": SequentialTaskRunner()}
NAMES = [*hostile.ORDINARY, *hostile.OTHERS]
SECONDS = 20.0


class Raising(logging.Handler):
    """A log handler that raises an exception for each line about a task run."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=list(RUNNERS))
def runner(request: pytest.FixtureRequest) -> Any:
    return RUNNERS[request.param]


@pytest.fixture
def broken_log() -> Iterator[Callable[[str], None]]:
    """Make all log lines of the SDK raise the exception with a name."""
    handlers: list[Raising] = []
    logger = logging.getLogger("flowcluster")

    def break_it(name: str) -> None:
        handlers.append(Raising(lambda: hostile.make(name)))
        logger.addHandler(handlers[-1])

    yield break_it
    for handler in handlers:
        logger.removeHandler(handler)


def ended(body: Callable[[], Any], runner: Any) -> Any:
    """Return what a flow with this function returns or raises within `SECONDS`, in a thread that gets no signal."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(flow(task_runner=runner)(body)(return_state=True))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert outcome, "the flow has not ended"
    return outcome[0]


def type_of(name: str) -> StateType:
    if name in hostile.ORDINARY:
        return StateType.FAILED
    return StateType.CANCELLED if name == "CancelledError" else StateType.CRASHED


def test_run_ends_in_the_state_of_its_exception(name: str, runner: Any) -> None:
    seen: list[State] = []

    @task
    def fail() -> None:
        raise hostile.make(name)

    outcome = ended(lambda: seen.append(fail.submit().wait()), runner)

    assert seen[0].type is type_of(name)
    assert type(seen[0].data).__name__ == name.split()[0]
    assert isinstance(outcome, SystemExit) == (name == "SystemExit")


def test_async_run_ends_in_the_state_of_its_exception(name: str, runner: Any) -> None:
    """Another coroutine on the same loop goes on. Python turns a StopIteration into a RuntimeError there."""
    seen: list[State] = []

    @task
    async def fail() -> None:
        raise hostile.make(name)

    @task
    async def complete() -> str:
        return "undisturbed"

    def body() -> None:
        runs: list[Any] = [fail.submit(), complete.submit()]
        seen.extend(run.wait() for run in runs)

    ended(body, runner)

    assert [state.type for state in seen] == [type_of(name), StateType.COMPLETED]
    assert type(seen[0].data).__name__ == ("RuntimeError" if name == "StopIteration" else name.split()[0])


def test_direct_call_raises_the_exception(name: str) -> None:
    seen: list[BaseException] = []

    @task
    def fail() -> None:
        raise hostile.make(name)

    def body() -> str:
        try:
            fail()
        except BaseException as error:
            seen.append(error)
        return "over"

    ended(body, RUNNERS["threads"])

    assert [type(error).__name__ for error in seen] == [name.split()[0]]


def test_flow_that_raises_ends(name: str, runner: Any) -> None:
    def body() -> None:
        raise hostile.make(name)

    outcome = ended(body, runner)

    if name in hostile.ORDINARY:
        assert (outcome.type, type(outcome.data).__name__) == (StateType.FAILED, name.split()[0])
    else:
        assert type(outcome).__name__ == name


@pytest.mark.parametrize("fails", [True, False])
def test_hook_that_raises_changes_no_state(name: str, runner: Any, fails: bool) -> None:
    called: list[str] = []

    def hook(*_: Any) -> None:
        called.append("hook")
        raise hostile.make(name)

    @task(on_completion=[hook, hook], on_failure=[hook, hook])
    def work() -> None:
        if fails:
            raise ValueError("own")

    states: list[State] = []
    ended(lambda: states.append(work.submit().wait()), runner)

    assert states[0].type is (StateType.FAILED if fails else StateType.COMPLETED)
    assert called == ["hook"] * 2


def test_condition_that_raises_causes_no_retry(name: str, runner: Any) -> None:
    def condition(*_: Any) -> bool:
        raise hostile.make(name)

    @task(retries=2, retry_condition=condition)
    def fail() -> None:
        raise ValueError("own")

    states: list[State] = []
    ended(lambda: states.append(fail.submit().wait()), runner)

    assert (states[0].type, str(states[0].data)) == (StateType.FAILED, "own")


def test_other_callbacks_are_called_when_one_raises(name: str, runner: Any) -> None:
    called: list[str] = []
    release = threading.Event()

    @task
    def work() -> int:
        return int(release.wait(0)) + 1

    def callback(number: int) -> Callable[[Any], None]:
        def call(_: Any) -> None:
            called.append(f"callback {number}")
            raise hostile.make(name)

        return call

    def body() -> Any:
        future = work.submit()
        try:
            for number in range(2):
                future.add_done_callback(callback(number))
        finally:
            release.set()
        return work.submit(wait_for=[future])

    outcome = ended(body, runner)

    assert outcome.is_completed()
    assert called == ["callback 0", "callback 1"]


def test_log_handler_that_raises_ends_no_run(name: str, runner: Any, broken_log: Callable[[str], None]) -> None:
    @task(retries=1)
    def fail() -> None:
        raise ValueError("own")

    broken_log(name)
    outcome = ended(lambda: fail.submit() and None, runner)

    assert outcome.is_failed()


def test_program_goes_on_when_a_hook_or_callback_exits(runner: Any) -> None:
    """`sys.exit` outside the functions of tasks and flows does not end the program."""

    @flow(task_runner=runner, on_completion=[lambda *_: sys.exit(3)])
    def exits() -> str:
        return "completed"

    assert exits() == "completed"


@pytest.mark.parametrize("name", NAMES)
def test_exception_is_rebuilt_with_type_text_and_attributes_or_not_at_all(name: str) -> None:
    """An exception that cannot be rebuilt is None, and the driver shows its text."""
    error = hostile.make(name)
    data = pickled_exceptions.dump(error)
    loaded = None if data is None else pickled_exceptions.load(data)

    refused = {"ReduceRaises", "ReduceExits", "ReduceIsWrong", "HoldsALock", "FailsToLoad"}
    if loaded is None:
        assert name in refused
        return
    assert type(loaded) is type(error)
    if name not in ("ExceptionGroup", "SystemExit"):
        assert loaded.args == error.args
    if name == "SystemExit":
        assert type(loaded.code) is hostile.CodeWithoutText  # type: ignore[attr-defined]
    elif name not in ("TextRaises", "TextExits", "TextIsNoText"):
        assert str(loaded) == str(error)
    if name == "FileNotFoundError":
        assert loaded.filename == "data.csv"  # type: ignore[attr-defined]


def test_exception_is_rebuilt_without_its_constructor() -> None:
    """A constructor that makes the text from an argument would make it from the text."""

    class NotFound(Exception):
        def __init__(self, table: str) -> None:
            super().__init__(f"no table {table}")
            self.table = table

    data = pickled_exceptions.dump(NotFound("orders"))
    assert data is not None
    loaded = pickled_exceptions.load(data)

    assert (str(loaded), vars(loaded)) == ("no table orders", {"table": "orders"})

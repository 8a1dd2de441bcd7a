"""States: their texts, their results, and how several become one."""

from __future__ import annotations

import pytest

from flowcluster import errors, states
from flowcluster.states import State, StateType


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (states.completed(1), "Completed()"),
        (states.completed(message="All states completed."), "Completed('All states completed.')"),
        (states.pending(), "Pending()"),
        (states.running(), "Running()"),
        (
            states.upstream_not_ready("a-1"),
            "NotReady(\"Upstream task run 'a-1' did not reach a 'COMPLETED' state.\", type=PENDING)",
        ),
    ],
)
def test_state_is_shown_in_one_line(state: State, text: str) -> None:
    """The line has the name, the message, and the type when the name differs from it."""
    assert str(state) == text


@pytest.mark.parametrize("kind", list(StateType))
def test_each_type_has_one_predicate(kind: StateType) -> None:
    """Exactly one `is_…` method returns True for each type."""
    state = State(kind)
    questions = ("pending", "running", "completed", "failed", "crashed", "cancelled")

    assert [name for name in questions if getattr(state, f"is_{name}")()] == [kind.value.lower()]
    assert state.is_final() is (kind not in (StateType.PENDING, StateType.RUNNING))


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (states.pending(), errors.UnfinishedRun),
        (states.running(), errors.UnfinishedRun),
        (states.failed("why"), errors.FailedRun),
        (states.crashed("why"), errors.CrashedRun),
        (states.cancelled("why"), errors.CancelledRun),
        (states.upstream_not_ready("x"), errors.UpstreamFailed),
        (states.failed("why", KeyError("k")), KeyError),
    ],
)
def test_result_raises_the_error_of_the_state(state: State, error: type[Exception]) -> None:
    """Without a result, `result` raises the run's exception, or an error with the state of the run."""
    with pytest.raises(error):
        state.result()


def test_result_returns_the_exception_on_request() -> None:
    """With `raise_on_failure=False` the exception is the result, except while the run is running."""
    error = KeyError("k")

    assert states.failed("why", error).result(raise_on_failure=False) is error
    with pytest.raises(errors.UnfinishedRun):
        states.running().result(raise_on_failure=False)


def test_remote_result_is_fetched_on_request() -> None:
    """The state fetches a result that is stored elsewhere when `result` is called."""

    class Elsewhere(states.Remote):
        def fetch(self) -> str:
            return "here"

    assert states.completed(Elsewhere()).result() == "here"


@pytest.mark.parametrize(
    ("many", "text"),
    [
        ([], "Completed('All states completed.')"),
        ([states.completed()] * 2, "Completed('All states completed.')"),
        ([states.completed(), states.failed("x"), states.crashed("y")], "Failed('2/3 states failed.')"),
        ([states.completed(), states.cancelled("x"), states.failed("y")], "Cancelled('1/3 states cancelled.')"),
        ([states.upstream_not_ready("x"), states.completed()], "Failed('1/2 states are not final.')"),
    ],
)
def test_many_states_become_one(many: list[State], text: str) -> None:
    """The state is completed if all are. Otherwise, it counts the worst ones."""
    assert str(states.total(many)) == text


def test_total_has_the_exception_of_the_first_real_failure() -> None:
    """It does not have the exception of a run that never started because of that failure."""
    cause = ValueError("cause")

    assert states.total([states.upstream_not_ready("x"), states.failed("y", cause)]).exception() is cause

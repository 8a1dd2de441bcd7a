"""States: what they say, what they give, and how many become one."""

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
    """Name, message, and the type where the name does not tell it."""
    assert str(state) == text


@pytest.mark.parametrize("kind", list(StateType))
def test_each_type_has_its_question(kind: StateType) -> None:
    """Exactly one `is_…` method answers yes for each type."""
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
def test_result_raises_what_fits_the_state(state: State, error: type[Exception]) -> None:
    """Without a result, `result` raises the run's exception, or one that says how the run stands."""
    with pytest.raises(error):
        state.result()


def test_result_gives_the_exception_on_request() -> None:
    """With `raise_on_failure=False` the exception is the result, except while the run goes on."""
    error = KeyError("k")

    assert states.failed("why", error).result(raise_on_failure=False) is error
    with pytest.raises(errors.UnfinishedRun):
        states.running().result(raise_on_failure=False)


def test_result_of_a_remote_is_fetched() -> None:
    """A result that is kept elsewhere is brought when somebody asks."""

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
    """Completed if all are, else a count of what is worst."""
    assert str(states.total(many)) == text


def test_cause_goes_before_its_echo() -> None:
    """The exception of the sum is the first real failure, not that of a run which never started."""
    cause = ValueError("cause")

    assert states.total([states.upstream_not_ready("x"), states.failed("y", cause)]).exception() is cause

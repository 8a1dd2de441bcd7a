"""Exceptions from a worker keep their causes and contexts."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

import pytest

from flowcluster import states
from flowcluster._output.tracebacks import format_trimmed, location
from flowcluster.errors import RemoteError, RemoteTraceback
from flowcluster.runners.failure import TaskFailure


class Refused(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"answered {code}")
        self.code = code


class Stale(Exception):
    pass


def explicit() -> None:
    try:
        raise Refused(code=502)
    except Refused as error:
        raise Stale("explicit") from error


def implicit() -> None:
    try:
        raise Refused(code=502)
    except Refused:
        raise Stale("implicit")  # noqa: B904 - what is tried


def hidden() -> None:
    try:
        raise Refused(code=502)
    except Refused:
        raise Stale("hidden") from None


def twice() -> None:
    try:
        explicit()
    except Stale as error:
        raise RuntimeError("twice") from error


def locked() -> None:
    cause = Stale("locked")
    cause.lock = threading.Lock()  # type: ignore[attr-defined]
    raise ValueError("outer") from cause


def raised_by(function: Callable[[], None]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def arrived(function: Callable[[], None]) -> BaseException:
    """Return the exception that the driver gets when `function` raises one on a worker."""
    failure = TaskFailure("t-0", states.failed("failed", raised_by(function)))
    error = pickle.loads(pickle.dumps(failure)).exception()
    assert isinstance(error, BaseException)
    return error


def test_cause_is_sent_with_its_exception() -> None:
    error = arrived(explicit)

    assert isinstance(error, Stale)
    assert isinstance(error.__cause__, Refused)
    assert (error.__cause__.code, str(error.__cause__)) == (502, "answered 502")


@pytest.mark.parametrize("function", [implicit, hidden])
def test_context_is_sent_with_its_exception(function: Callable[[], None]) -> None:
    error = arrived(function)

    assert isinstance(error, Stale)
    assert isinstance(error.__context__, Refused)
    assert error.__context__.code == 502


def test_causes_of_causes_are_sent() -> None:
    error = arrived(twice)

    assert [type(error), type(error.__cause__)] == [RuntimeError, Stale]
    assert error.__cause__ is not None
    assert isinstance(error.__cause__.__cause__, Refused)


def test_cause_is_replaced_by_its_text_when_it_cannot_be_sent() -> None:
    error = arrived(locked)

    assert (type(error), type(error.__cause__), str(error.__cause__)) == (ValueError, RemoteError, "Stale: locked")


@pytest.mark.parametrize("function", [explicit, implicit, hidden, twice, locked])
def test_traceback_of_the_worker_is_shown_with_any_cause(function: Callable[[], None]) -> None:
    original, error = raised_by(function), arrived(function)

    assert format_trimmed(error) == format_trimmed(original)
    assert location(error) == location(original)


def test_exception_has_its_own_location_when_its_cause_is_from_a_worker() -> None:
    def wrap() -> None:
        raise LookupError("in the flow") from arrived(explicit)

    error = raised_by(wrap)

    assert (location(error) or "").endswith(" in wrap")
    assert "answered 502" in format_trimmed(error)


def test_exception_that_is_sent_twice_has_one_traceback_of_a_worker() -> None:
    def again() -> None:
        raise arrived(explicit)

    links: list[BaseException] = [arrived(again)]
    while (cause := links[-1].__cause__) is not None:
        links.append(cause)

    assert [type(link) for link in links] == [Stale, Refused, RemoteTraceback]

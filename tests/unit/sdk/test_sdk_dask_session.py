"""How a session handles the scheduler's messages about its task runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.runners.dask import messages

pytest.importorskip("distributed")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a session whose cluster exists, without a connection to it."""
    from flowcluster.runners.dask.session import DaskSession

    monkeypatch.setattr(DaskSession, "lost", lambda _: None)
    made = object.__new__(DaskSession)
    made._pending = {}
    made._closed = False
    made._find_cause = lambda: None
    return made


def pending_in(session: Any, ends: list[Any], has_begun: bool) -> Any:
    from flowcluster.runners.dask.result import DaskResult

    result = DaskResult(session, "run-0", "key-0-abc")
    result.future = SimpleNamespace(cancelled=lambda: True)
    made = SimpleNamespace(result=result, by_key=[], has_begun=has_begun, done=ends.append)
    session._pending[result.key] = made
    return made


def test_started_run_ends_with_the_report_of_its_worker_when_its_cancellation_arrives_first(session: Any) -> None:
    """The scheduler sends both at the same time. The session can read them in two batches."""
    ends: list[Any] = []
    pending_in(session, ends, has_begun=True)

    session._handle([messages.Cancelled("key-0-abc", "already forgotten")])
    assert ends == []
    session._handle([messages.WorkerLost("key-0-abc", "tcp://127.0.0.1:1")])

    assert ["lost its worker" in str(state.message) for state in ends] == [True]


def test_run_crashes_when_another_client_cancels_it_before_its_start(session: Any) -> None:
    ends: list[Any] = []
    pending_in(session, ends, has_begun=False)

    session._handle([messages.Cancelled("key-0-abc", "already forgotten")])

    assert [state.message for state in ends] == ["Task run was cancelled on the cluster by another client."]

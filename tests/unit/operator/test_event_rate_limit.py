"""Rates of the operator's Kubernetes Events."""

from __future__ import annotations

import pytest

from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Emit, Plan
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.resources import EVENT
from flowcluster_operator.trackers import event_rate_limit as limits
from flowcluster_operator.trackers.event_rate_limit import EventRateLimit
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, NOW, run


def other(number: int) -> RunId:
    """A run of the same namespace."""
    return KEY._replace(name=f"run-{number}", uid=f"uid-{number}")


def admitted(tries: list[tuple[RunId, Emit, float]], made: EventRateLimit | None = None) -> int:
    """How many of these Events are written."""
    made = made or EventRateLimit()
    return sum(made.admits(*one) for one in tries)


def test_all_events_of_one_ordinary_run_are_written() -> None:
    reasons = ("Creating", "FlowRunning", "Succeeded")

    assert admitted([(KEY, Emit("Normal", reason, ""), 0.0) for reason in reasons]) == len(reasons)


def test_events_of_one_run_are_limited_as_in_client_go() -> None:
    tries = [(KEY, Emit("Warning", f"Reason{number}", ""), 0.0) for number in range(40)]

    assert admitted(tries) == limits.RUN_BURST


def test_one_more_event_of_a_run_is_written_after_five_minutes() -> None:
    made = EventRateLimit()
    admitted([(KEY, Emit("Warning", f"Reason{number}", ""), 0.0) for number in range(40)], made)
    later = [(KEY, Emit("Warning", f"Later{number}", ""), 301.0) for number in range(3)]

    assert admitted(later, made) == 1


def test_similar_events_of_one_run_are_limited() -> None:
    tries = [(KEY, Emit("Warning", "FailedMount", f"volume {number}"), 0.0) for number in range(20)]

    assert admitted(tries) == limits.SIMILAR


def test_similar_events_of_one_run_are_written_again_after_ten_minutes() -> None:
    made = EventRateLimit()
    admitted([(KEY, Emit("Warning", "FailedMount", str(number)), 0.0) for number in range(10)], made)

    assert made.admits(KEY, Emit("Warning", "FailedMount", "x"), limits.SIMILAR_SECONDS)


@pytest.mark.parametrize(("kind", "burst"), [("Normal", limits.NORMAL_BURST), ("Warning", limits.WARNING_BURST)])
def test_events_of_many_runs_are_limited(kind: str, burst: int) -> None:
    tries = [(other(number), Emit(kind, "FailedCreate", "exceeded quota"), 0.0) for number in range(100)]

    assert admitted(tries) == burst


def test_events_of_many_runs_are_written_over_time() -> None:
    tries = [(other(number), Emit("Warning", "FailedCreate", "exceeded quota"), float(number)) for number in range(100)]

    assert admitted(tries) == 100


def test_warnings_of_another_namespace_are_not_limited() -> None:
    made = EventRateLimit()
    admitted([(other(number), Emit("Warning", "FailedCreate", ""), 0.0) for number in range(100)], made)

    assert made.admits(RunId("elsewhere", "a", "b"), Emit("Warning", "FailedCreate", ""), 0.0)


def test_normal_events_do_not_take_the_place_of_warnings() -> None:
    made = EventRateLimit()
    admitted([(other(number), Emit("Normal", "Created", ""), 0.0) for number in range(100)], made)

    assert made.admits(KEY, Emit("Warning", "Created", ""), 0.0)


def test_limits_keep_a_bounded_number_of_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 10)
    made = EventRateLimit()
    for number in range(100):
        made.admits(RunId(f"team-{number}", "a", f"uid-{number}"), Emit("Warning", "x", ""), float(number))

    assert len(made._warnings) <= 11


async def test_apply_writes_no_event_above_the_limits(api: FakeApi, kube: Kube) -> None:
    events = tuple(Emit("Warning", "FailedMount", f"volume {number}") for number in range(20))
    await apply(Plan(events=events), KEY, run(), Store(), Memory(), kube, NOW)

    assert len(api.objects.all(EVENT)) == limits.SIMILAR

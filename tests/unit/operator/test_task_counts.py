"""The task runs of a flow that goes on: which counts stand in its status, and how often they change."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcluster_api.driver import Outcome, TaskCounts
from flowcluster_api.lease import LeaseState
from flowcluster_api.progress import Progress, Tasks
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.policies.task_counts import INTERVAL_SECONDS, counted
from flowcluster_operator.reconcile.decide import decide
from tests.support.makers import NOW, SETTINGS, ago, deployment, ended, observed, outcome, pod, spec
from tests.support.plans import CHILDREN, READY_PODS

RUNNING: dict[str, Any] = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290)}
SETTLED = {**CHILDREN, "deployments": (deployment(), *(deployment("worker", number=number) for number in (1, 2)))}
DRIVER = pod("driver")
HOLDER = f"{DRIVER['metadata']['name']}/7"
#: Times of heartbeats, in seconds, and the completed task runs of each.
HEARTBEATS = st.lists(st.tuples(st.integers(1, 200).map(lambda ticks: ticks / 8), st.integers(0, 3)), max_size=6)


def signs(*tasks: int, holder: str | None = HOLDER, **more: Any) -> DriverHeartbeat:
    """A driver that reports these counts: total, running, completed, failed."""
    return DriverHeartbeat(holder, more.pop("outcome", None), 1, 0, None, Progress(Tasks(*tasks)))


def after(
    status: dict[str, Any], driver: DriverHeartbeat | None, seconds: float = 0, pods: Any = None, **more: Any
) -> dict[str, Any] | None:
    """Return the status that a pass writes `seconds` after `NOW`; None for no write."""
    pods = [*READY_PODS, DRIVER] if pods is None else pods
    body = more.pop("body", None)
    seen = observed(body, status=status, driver=driver, pods=pods, **{**SETTLED, **more})
    return decide(seen, SETTINGS, NOW + dt.timedelta(seconds=seconds)).status


def running() -> dict[str, Any]:
    """The status of a run that works, before its driver has counted."""
    status = after(RUNNING, None)
    assert status is not None
    assert after(status, None) is None
    return status


def test_counts_of_a_running_flow_stand_in_its_status() -> None:
    status = after(running(), signs(10, 2, 3, 1))

    assert status is not None
    assert status["phase"] == "Running"
    assert status["flow"]["tasks"] == {"total": 10, "running": 2, "completed": 3, "failed": 1}
    assert status["display"]["tasks"] == "3/10"


def test_counts_of_a_driver_that_runs_elsewhere_stand_in_the_status() -> None:
    body = spec(flow=False)
    settled = after(RUNNING, signs(0, holder="laptop/1"), body=body, job=None, access=()) or {}
    status = after(settled, signs(10, 2, 3, 1, holder="laptop/1"), body=body, job=None, access=())

    assert status is not None
    assert status["flow"]["tasks"] == {"total": 10, "running": 2, "completed": 3, "failed": 1}


@pytest.mark.parametrize(
    "driver",
    [None, DriverHeartbeat(None, None, 1, 0), DriverHeartbeat(HOLDER, None, 1, 0, None, Progress(None, 5)), signs(0)],
)
def test_driver_that_counts_nothing_costs_no_write(driver: DriverHeartbeat | None) -> None:
    assert after(running(), driver) is None


@settings(max_examples=40)
@given(HEARTBEATS)
def test_counts_are_written_at_most_once_in_ten_seconds_and_the_last_ones_are(
    heartbeats: list[tuple[float, int]],
) -> None:
    """Passes follow each heartbeat, and each time that a pass asks for."""
    status, now, completed, due = running(), 0.0, 0, None
    written = []
    for pause, more in [*heartbeats, (60.0, 0)]:
        until = now + pause
        while due is not None and due <= until:
            status, due, changed = _pass(status, due, completed)
            written += [changed] if changed is not None else []
        now, completed = until, completed + more
        status, due, changed = _pass(status, now, completed)
        written += [changed] if changed is not None else []

    assert all(later - earlier >= INTERVAL_SECONDS for earlier, later in itertools.pairwise(written))
    assert (status.get("flow") or {}).get("tasks", {}).get("completed", 0) == completed


def _pass(status: dict[str, Any], now: float, completed: int) -> tuple[dict[str, Any], float | None, float | None]:
    """Make a pass; return the status, when the next one is due for its counts, and when this one wrote, if it did."""
    new = after(status, signs(completed, 0, completed), now)
    seen = observed(status=new or status, driver=signs(completed, 0, completed), pods=[*READY_PODS, DRIVER], **SETTLED)
    wait = counted(seen, (new or status).get("flow") or {}, NOW + dt.timedelta(seconds=now)).requeue
    return new or status, None if wait is None else now + wait, now if new is not None else None


def test_counts_are_written_when_the_clock_was_set_back() -> None:
    first = after(running(), signs(1, 1), seconds=3600)
    assert first is not None

    assert after(first, signs(2, 1, 1), seconds=0) is not None


class TestAttempts:
    def test_counts_of_an_earlier_attempt_stay_until_the_next_one_counts(self) -> None:
        body = {**spec(), "flow": {"entrypoint": "greetings.py:greetings", "backoffLimit": 3}}
        first = after(RUNNING, signs(5, 2, 3), body=body)
        crashed = pod("driver", ended(1), phase="Failed")
        between = after(first or {}, signs(5, 2, 3), 60, [*READY_PODS, crashed], body=body)
        assert between is not None
        assert between["flow"]["tasks"] == {"total": 5, "running": 0, "completed": 3, "failed": 0}

        second = pod("driver", name="driver-second", uid="second", age=1)
        pods = [*READY_PODS, crashed, second]
        started = after(between, signs(0, holder="driver-second/7"), 80, pods, body=body) or between
        assert started["flow"]["tasks"] == between["flow"]["tasks"]

        status = after(started, signs(1, 1, holder="driver-second/7"), 100, pods, body=body)
        assert status is not None
        assert status["flow"]["tasks"] == {"total": 1, "running": 1, "completed": 0, "failed": 0}

    @pytest.mark.parametrize("suspended_at", [60, 3])
    def test_counts_survive_a_suspension(self, suspended_at: float) -> None:
        """The last ones that the driver reported, however short ago the ones before were written."""
        counted_once = after(running(), signs(5, 2, 3))
        body = {**spec(), "suspend": True}
        suspended = after(counted_once or {}, signs(9, 4, 4, 1), suspended_at, body=body)
        assert suspended is not None
        assert suspended["phase"] == "Suspended"
        kept = {"total": 9, "running": 0, "completed": 4, "failed": 1}
        assert suspended["flow"]["tasks"] == kept

        assert after(suspended, signs(9, 4, 4, 1), suspended_at + 1, body=body) is None
        gone = {"cluster": None, "job": None, "deployments": (), "lease": None, "access": (), "verified_gone": True}
        resumed = after(suspended, None, suspended_at + 60, [], **gone)
        assert resumed is not None
        assert (resumed["phase"], resumed["flow"]["tasks"]) == ("Starting", kept)


class TestEnd:
    @pytest.mark.parametrize(
        ("counts", "kept"),
        [
            (TaskCounts(9, 8, 1), {"total": 9, "running": 0, "completed": 8, "failed": 1}),
            (TaskCounts(), {"total": 5, "running": 0, "completed": 3, "failed": 0}),
        ],
    )
    def test_outcome_has_the_last_word_unless_it_has_no_counts(self, counts: TaskCounts, kept: dict[str, int]) -> None:
        first = after(running(), signs(5, 2, 3))
        text = Outcome(state="Failed", reason="X", message="x", exit_code=1, tasks=counts).to_json()
        status = after(first or {}, signs(5, 2, 3), 60, [*READY_PODS, pod("driver", ended(1, text), phase="Failed")])

        assert status is not None
        assert (status["phase"], status["flow"]["tasks"]) == ("Stopping", kept)

    def test_run_without_an_outcome_keeps_the_last_counts(self) -> None:
        """Also those that were reported within ten seconds before its end; none of them runs any more."""
        first = after(running(), signs(5, 2, 3))
        status = after(first or {}, signs(8, 2, 5), 1, body={**spec(), "cancel": True})

        assert status is not None
        assert status["flow"]["tasks"] == {"total": 8, "running": 0, "completed": 5, "failed": 0}
        assert status["display"]["tasks"] == "5/8"

    def test_flow_without_task_runs_has_zeros(self) -> None:
        pods = [*READY_PODS, pod("driver", ended(0, outcome()), phase="Succeeded")]
        status = after(running(), signs(0), 60, pods)

        assert status is not None
        assert status["flow"]["tasks"] == {"total": 0, "running": 0, "completed": 0, "failed": 0}


@given(st.dictionaries(st.sampled_from(["total", "running", "completed", "failed"]), st.integers()))
def test_status_holds_only_counts_that_the_api_server_accepts(tasks: dict[str, int]) -> None:
    """A driver can write anything into its Lease. The API server refuses an integer of more than 64 bits."""
    progress = Progress.from_json(str(tasks).replace("'", '"'))
    driver = DriverHeartbeat(HOLDER, None, 1, 0, None, LeaseState(HOLDER, None, None, None, progress).progress)
    status = after(running(), driver) or running()

    assert all(0 <= number < 2**31 for number in (status.get("flow") or {}).get("tasks", {}).values())
    assert len(status["display"].get("tasks", "")) <= 32

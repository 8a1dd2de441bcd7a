"""When a driver counts as lost. The tests call the policy with values, without an API server."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster_api import lease as leases
from flowcluster_api.driver import Outcome
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.heartbeat import CONFIRMED_SECONDS
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.trackers.heartbeats import HeartbeatTracker
from tests.support.makers import KEY, NOW, SETTINGS, ago, cluster, deployment, ended, job, lease, observed, pod, spec
from tests.support.plans import RIGHTS

ALIVE = DriverHeartbeat(holder="laptop", outcome=None, silent_for=5, confirmed_for=0)


def seen(heartbeat: DriverHeartbeat, **more: Any) -> Observed:
    """Return a running run with this heartbeat of its driver."""
    body = spec(flow=False, **more)
    status = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290)}
    pods = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
    deployments = (deployment(), *(deployment("worker", number=number) for number in (1, 2)))
    return observed(
        body, status=status, cluster=cluster(), deployments=deployments, pods=pods, lease=lease(), driver=heartbeat
    )


def status(heartbeat: DriverHeartbeat, **more: Any) -> dict[str, Any]:
    found = decide(seen(heartbeat, **more), SETTINGS, NOW).status
    assert found is not None
    return found


def test_run_continues_while_its_driver_sends_heartbeats() -> None:
    """The story names the driver, and the next pass is when its silence would be too long."""
    plan = decide(seen(ALIVE), SETTINGS, NOW)

    assert plan.status is not None
    assert plan.status["phase"] == "Running"
    assert "laptop drives the run" in [entry["message"] for entry in plan.status["story"]]
    assert plan.requeue == leases.DURATION - ALIVE.silent_for


@pytest.mark.parametrize(
    ("heartbeat", "more", "phase"),
    [
        (ALIVE._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS), {}, "Stopping"),
        (ALIVE._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS - 1), {}, "Running"),
        (ALIVE._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS), {"leaseDurationSeconds": 90}, "Running"),
        (ALIVE._replace(silent_for=11, confirmed_for=CONFIRMED_SECONDS), {"leaseDurationSeconds": 10}, "Stopping"),
        (ALIVE._replace(silent_for=599, confirmed_for=999, holder=None), {}, "Running"),
        (
            ALIVE._replace(silent_for=11, confirmed_for=CONFIRMED_SECONDS, holder=None),
            {"leaseDurationSeconds": 10},
            "Stopping",
        ),
    ],
)
def test_run_ends_when_its_driver_is_silent_for_the_lease_duration(
    heartbeat: DriverHeartbeat, more: dict[str, Any], phase: str
) -> None:
    """The API server must confirm the silence. Without an explicit duration, the Lease must have been renewed once."""
    after = status(heartbeat, **more)

    assert after["phase"] == phase
    if phase == "Stopping":
        assert after["reason"] == "DriverLost"
        assert "spec.leaseDurationSeconds" in after["message"]


@pytest.mark.parametrize(("silent", "limit", "is_over"), [(601, 600, True), (601, 700, False), (31, 30, True)])
def test_run_whose_lease_no_driver_ever_renewed_ends_at_the_start_deadline(
    silent: float, limit: int, is_over: bool
) -> None:
    """Its driver ended before it could renew the Lease, or never existed: the cluster would live for ever."""
    plan = decide(
        seen(
            ALIVE._replace(silent_for=silent, confirmed_for=CONFIRMED_SECONDS, holder=None),
            startDeadlineSeconds=limit,
        ),
        SETTINGS,
        NOW,
    )

    assert ((plan.status or {}).get("phase") == "Stopping") is is_over
    if is_over:
        assert plan.status is not None
        assert plan.status["reason"] == "StartDeadlineExceeded"
        assert f"no driver renewed the run's Lease for {limit} s (spec.startDeadlineSeconds)" in plan.status["message"]
    else:
        assert plan.requeue is not None
        assert plan.requeue <= limit - silent


@pytest.mark.parametrize("renews", [None, "driver-1/7"])
@pytest.mark.parametrize(
    ("driver", "is_lost"),
    [
        ({"gone": 31}, True),
        ({"gone": 29}, False),
        ({"gone": -10}, False),
        ({}, False),
        ({"gone": 31, "state": ended(143)}, False),
    ],
    ids=["unconfirmed", "late", "in its grace period", "not deleted", "ended"],
)
def test_driver_whose_deletion_its_node_does_not_confirm_is_lost(
    driver: dict[str, Any], is_lost: bool, renews: str | None
) -> None:
    """Also without a heartbeat, as in an image without the SDK. Its Job would wait for the node for ever."""
    made = pod("driver", driver.get("state"))
    made["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "unreachable"}
    )
    if "gone" in driver:
        made["metadata"]["deletionTimestamp"] = ago(driver["gone"])
    running = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290), "flow": {"job": "j"}}
    heartbeat = ALIVE._replace(holder=renews, silent_for=0)
    children = {"cluster": cluster(), "deployments": (deployment(),), "job": job(), **RIGHTS}
    ready = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
    plan = decide(observed(status=running, pods=[*ready, made], driver=heartbeat, **children), SETTINGS, NOW)

    assert ((plan.status or {}).get("phase") == "Stopping") is is_lost
    if is_lost:
        assert plan.status is not None
        assert plan.status["reason"] == "DriverLost"
        assert "DeletionByTaintManager" in plan.status["message"]
    elif "gone" in driver and "state" not in driver:
        assert plan.requeue is not None
        assert plan.requeue <= max(30 - driver["gone"], 1)


@pytest.mark.parametrize(
    ("holder", "pods", "phase"),
    [
        ("driver-1/7", [pod("driver")], "Stopping"),
        (None, [pod("driver")], "Running"),
        ("driver-1/7", [pod("driver", ended(1)), pod("driver", {"waiting": {}}, uid="2", age=1)], "Running"),
        ("driver-1/7", [pod("driver", ended(1)), pod("driver", uid="2", age=1)], "Running"),
    ],
    ids=["its pod runs", "no heartbeat", "the next attempt has not begun", "the next attempt has begun"],
)
def test_driver_in_a_pod_is_lost_when_it_stops_sending_heartbeats(
    holder: str | None, pods: list[dict[str, Any]], phase: str
) -> None:
    """It must have sent a heartbeat before, and its pod must run as far as the API server knows."""
    body = spec()
    body["flow"]["backoffLimit"] = 1
    running = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290)}
    heartbeat = ALIVE._replace(holder=holder, silent_for=61, confirmed_for=CONFIRMED_SECONDS)
    world = seen(heartbeat)
    children = {"cluster": world.cluster, "deployments": world.deployments, "job": job(body), **RIGHTS}
    ready = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]

    found = observed(body, status=running, pods=[*ready, *pods], driver=heartbeat, **children)
    after = decide(found, SETTINGS, NOW).status

    assert after is not None
    assert after["phase"] == phase


@pytest.mark.parametrize(
    ("state", "reason"), [("Completed", "Succeeded"), ("Failed", "FlowFailed"), ("Cancelled", "Cancelled")]
)
def test_run_ends_immediately_with_the_outcome_in_its_lease(state: Any, reason: str) -> None:
    word = "FlowCompleted" if state == "Completed" else reason
    outcome = Outcome(state=state, reason=word, message="as reported", exit_code=0)
    after = status(ALIVE._replace(outcome=outcome))

    assert (after["phase"], after["reason"], after["message"]) == ("Stopping", reason, "as reported")


def test_lease_is_deleted_when_the_run_is_over() -> None:
    world = seen(ALIVE)
    finished = {
        "phase": "Stopping",
        "finishTime": ago(1),
        "conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded", "message": ""}],
    }
    assert world.run is not None
    over = observed(run={**world.run, "status": finished}, lease=lease())

    assert [action.resource.kind for action in decide(over, SETTINGS, NOW).actions] == ["Lease"]


def test_silence_is_measured_from_when_the_operator_first_observed_a_renewal() -> None:
    """The time in the renewal does not matter: it is by the driver's clock."""
    tracker = HeartbeatTracker()

    assert tracker.silent_for(KEY, "2001-01-01T00:00:00Z", 0) == 0
    assert tracker.silent_for(KEY, "2001-01-01T00:00:00Z", 40) == 40
    assert tracker.silent_for(KEY, "2001-01-01T00:00:09Z", 50) == 0


def test_confirmation_of_silence_begins_again_after_a_gap() -> None:
    """After an outage of the API server, the driver has time to renew its Lease."""
    tracker = HeartbeatTracker()
    tracker.silent_for(KEY, None, 0)

    assert [tracker.confirmed_for(KEY, at) for at in (60, 61, 62.5)] == [0, 1, 2.5]
    assert [tracker.confirmed_for(KEY, at) for at in (80, 81)] == [0, 1]
    tracker.silent_for(KEY, "2001-01-01T00:00:09Z", 82)
    assert tracker.confirmed_for(KEY, 82) == 0


def test_annotation_that_is_not_an_outcome_is_ignored() -> None:
    """Each client with rights to the Lease can write the annotation."""
    body = lease("laptop")
    body["metadata"]["annotations"] = {leases.ANNOTATION_OUTCOME: "nonsense"}

    assert leases.read(body) == leases.LeaseState("laptop", None, None)

"""When a driver that runs elsewhere counts as gone. No API server: values in, a verdict out."""

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

HEARD = DriverHeartbeat(holder="laptop", outcome=None, silent_for=5, confirmed_for=0)


def seen(signs: DriverHeartbeat, **more: Any) -> Observed:
    """A run that works, whose driver gives these signs."""
    body = spec(flow=False, **more)
    status = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290)}
    pods = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
    deployments = (deployment(), *(deployment("worker", number=number) for number in (1, 2)))
    return observed(
        body, status=status, cluster=cluster(), deployments=deployments, pods=pods, lease=lease(), driver=signs
    )


def status(signs: DriverHeartbeat, **more: Any) -> dict[str, Any]:
    found = decide(seen(signs, **more), SETTINGS, NOW).status
    assert found is not None
    return found


def test_a_driver_that_is_heard_goes_on() -> None:
    """The run stays, the record says who drives it, and the next look is when its silence would be too long."""
    plan = decide(seen(HEARD), SETTINGS, NOW)

    assert plan.status is not None
    assert plan.status["phase"] == "Running"
    assert "laptop drives the run" in [entry["message"] for entry in plan.status["story"]]
    assert plan.requeue == leases.DURATION - HEARD.silent_for


@pytest.mark.parametrize(
    ("signs", "more", "phase"),
    [
        (HEARD._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS), {}, "Stopping"),
        (HEARD._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS - 1), {}, "Running"),
        (HEARD._replace(silent_for=61, confirmed_for=CONFIRMED_SECONDS), {"leaseDurationSeconds": 90}, "Running"),
        (HEARD._replace(silent_for=11, confirmed_for=CONFIRMED_SECONDS), {"leaseDurationSeconds": 10}, "Stopping"),
        (HEARD._replace(silent_for=599, confirmed_for=999, holder=None), {}, "Running"),
        (
            HEARD._replace(silent_for=11, confirmed_for=CONFIRMED_SECONDS, holder=None),
            {"leaseDurationSeconds": 10},
            "Stopping",
        ),
    ],
)
def test_silence_ends_a_run(signs: DriverHeartbeat, more: dict[str, Any], phase: str) -> None:
    """Longer than the lease, confirmed by the API server for a while, and only where somebody is expected."""
    after = status(signs, **more)

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
            HEARD._replace(silent_for=silent, confirmed_for=CONFIRMED_SECONDS, holder=None),
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
    signs = HEARD._replace(holder=renews, silent_for=0)
    children = {"cluster": cluster(), "deployments": (deployment(),), "job": job(), **RIGHTS}
    ready = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
    plan = decide(observed(status=running, pods=[*ready, made], driver=signs, **children), SETTINGS, NOW)

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
    ids=["its pod runs", "never heard", "the next attempt has not begun", "the next attempt has begun"],
)
def test_silence_in_a_pod(holder: str | None, pods: list[dict[str, Any]], phase: str) -> None:
    """A driver that the operator started is lost if it was heard before, and its pod runs as far as anybody knows."""
    body = spec()
    body["flow"]["backoffLimit"] = 1
    running = {"phase": "Running", "startTime": ago(300), "readyTime": ago(290)}
    signs = HEARD._replace(holder=holder, silent_for=61, confirmed_for=CONFIRMED_SECONDS)
    world = seen(signs)
    children = {"cluster": world.cluster, "deployments": world.deployments, "job": job(body), **RIGHTS}
    ready = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]

    after = decide(observed(body, status=running, pods=[*ready, *pods], driver=signs, **children), SETTINGS, NOW).status

    assert after is not None
    assert after["phase"] == phase


@pytest.mark.parametrize(
    ("state", "reason"), [("Completed", "Succeeded"), ("Failed", "FlowFailed"), ("Cancelled", "Cancelled")]
)
def test_a_driver_says_how_it_ended(state: Any, reason: str) -> None:
    """Its own words are the outcome, at once."""
    word = "FlowCompleted" if state == "Completed" else reason
    outcome = Outcome(state=state, reason=word, message="as it says", exit_code=0)
    after = status(HEARD._replace(outcome=outcome))

    assert (after["phase"], after["reason"], after["message"]) == ("Stopping", reason, "as it says")


def test_the_lease_goes_with_the_run() -> None:
    """What is deleted at the end includes the Lease."""
    world = seen(HEARD)
    finished = {
        "phase": "Stopping",
        "finishTime": ago(1),
        "conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded", "message": ""}],
    }
    assert world.run is not None
    over = observed(run={**world.run, "status": finished}, lease=lease())

    assert [action.resource.kind for action in decide(over, SETTINGS, NOW).actions] == ["Lease"]


def test_silence_is_counted_from_what_this_process_heard() -> None:
    """A renewal counts from when it was first seen; what its time says does not matter."""
    silences = HeartbeatTracker()

    assert silences.silent_for(KEY, "2001-01-01T00:00:00Z", 0) == 0
    assert silences.silent_for(KEY, "2001-01-01T00:00:00Z", 40) == 40
    assert silences.silent_for(KEY, "2001-01-01T00:00:09Z", 50) == 0


def test_asking_counts_without_a_gap_only() -> None:
    """An API server that could not be asked for a while leaves the driver its time to be heard again."""
    silences = HeartbeatTracker()
    silences.silent_for(KEY, None, 0)

    assert [silences.confirmed_for(KEY, at) for at in (60, 61, 62.5)] == [0, 1, 2.5]
    assert [silences.confirmed_for(KEY, at) for at in (80, 81)] == [0, 1]
    silences.silent_for(KEY, "2001-01-01T00:00:09Z", 82)
    assert silences.confirmed_for(KEY, 82) == 0


def test_what_is_no_outcome_does_not_end_a_run() -> None:
    """Anybody can write an annotation."""
    body = lease("laptop")
    body["metadata"]["annotations"] = {leases.ANNOTATION_OUTCOME: "nonsense"}

    assert leases.read(body) == leases.LeaseState("laptop", None, None)

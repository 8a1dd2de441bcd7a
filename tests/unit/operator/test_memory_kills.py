"""Kills at a memory limit reach the story and the message of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.causes import killed, seen
from tests.support.makers import (
    ended,
    observed,
    outcome,
    pod,
    spec,
)  # fmt: skip
from tests.support.plans import CHILDREN, condition, plan_for, settled, started


def test_worker_killed_at_its_memory_limit_is_in_the_story_although_it_runs_again() -> None:
    status = settled(seen("worker", killed("worker")))

    (entry,) = (entry for entry in status["story"] if entry["reason"] == "OutOfMemory")
    assert "OOMKilled" in entry["message"]
    assert "400Mi" in entry["message"]
    assert "spec.cluster.workers.resources" in entry["message"]
    assert status["reason"] == "FlowRunning"


@pytest.mark.parametrize(
    ("changes", "is_recorded"),
    [
        ({}, True),
        ({"exit_code": 1}, False),
        ({"limits": {}}, False),
        ({"livenessProbe": {"tcpSocket": {"port": 8788}}}, False),
        ({"deleted": True}, False),
    ],
    ids=["plain", "exits", "no-limit", "liveness-probe", "deleted"],
)
def test_sigkill_of_a_worker_that_only_its_memory_limit_explains_is_in_the_story(
    changes: dict[str, Any], is_recorded: bool
) -> None:
    """A container runtime can lose the kernel's notification; the kubelet then reports a plain error."""
    worker = killed("worker", deleted=changes.get("deleted", False))
    container = worker["spec"]["containers"][0]
    container |= {name: value for name, value in changes.items() if name == "livenessProbe"}
    container["resources"]["limits"] = changes.get("limits", container["resources"]["limits"])
    worker["status"]["containerStatuses"][0]["lastState"] = ended(changes.get("exit_code", 137), "", "Error")
    entries = [entry for entry in settled(seen("worker", worker))["story"] if entry["reason"] == "OutOfMemory"]

    assert [entry["message"].partition(";")[0] for entry in entries] == (
        ["worker: container worker was killed (SIGKILL, exit code 137), probably at its memory limit of 400Mi"]
        if is_recorded
        else []
    )


@pytest.mark.parametrize("is_gone", [False, True])
def test_flow_that_lost_its_worker_ends_with_the_memory_limit(is_gone: bool) -> None:
    lost = "RuntimeError: Task run lost its worker tls://10.0.0.1:1: it may have run out of memory."
    driver = pod("driver", ended(1, outcome("Failed", "FlowFailed", lost, 1)), phase="Failed")
    before = settled(seen("worker", killed("worker")))
    status = before if is_gone else started()
    pods = [driver, pod("scheduler"), *([] if is_gone else [killed("worker")])]
    message = settled(observed(spec(workers=1), status=status, pods=pods, **CHILDREN))["message"]

    assert message.startswith(lost)
    assert "OOMKilled" in message
    assert "spec.cluster.workers.resources" in message


@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize("lost", ["Task run lost its worker tls://10.0.0.1:1.", "ValueError: no"])
def test_kill_that_is_reported_after_the_end_of_the_flow_is_in_the_story(lost: str, is_deleted: bool) -> None:
    """The kubelet reports the ends of both pods within moments, in any order."""
    driver = pod("driver", ended(1, outcome("Failed", "FlowFailed", lost, 1)), phase="Failed")
    before = settled(observed(spec(workers=1), status=started(), pods=[driver, pod("worker")], **CHILDREN))
    pods = [driver, killed("worker", deleted=is_deleted)]
    plan = plan_for(observed(spec(workers=1), status=before, pods=pods, **CHILDREN))
    status = plan.status or {}

    (entry,) = (entry for entry in status["story"] if entry["reason"] == "OutOfMemory")
    assert "400Mi" in entry["message"]
    assert [event.reason for event in plan.events] == ["OutOfMemory"]
    shown = f"{lost} {entry['message']}" if "lost its worker" in lost else lost
    assert (status["reason"], status["message"]) == ("FlowFailed", shown)
    assert condition(status, "Finished")["message"] == shown


def test_kill_that_is_reported_after_a_success_is_not_in_the_story() -> None:
    driver = pod("driver", ended(0, outcome("Completed", "Succeeded", "", 0)), phase="Succeeded")
    before = settled(observed(spec(workers=1), status=started(), pods=[driver, pod("worker")], **CHILDREN))
    plan = plan_for(observed(spec(workers=1), status=before, pods=[driver, killed("worker")], **CHILDREN))

    assert condition(before, "Finished")["reason"] == "Succeeded"
    assert (plan.events, plan.status) == ((), None)


def test_failure_of_the_flow_itself_has_nothing_of_a_worker_that_was_killed_before() -> None:
    driver = pod("driver", ended(1, outcome("Failed", "FlowFailed", "ValueError: no", 1)), phase="Failed")
    pods = [driver, pod("scheduler"), killed("worker")]

    assert settled(observed(spec(workers=1), status=started(), pods=pods, **CHILDREN))["message"] == "ValueError: no"


@pytest.mark.parametrize(
    ("component", "kind", "changes", "words"),
    [
        ("scheduler", "Dask", {"kill": True}, ["OOMKilled", "400Mi", "spec.cluster.scheduler.resources"]),
        ("head", "Ray", {"kill": True}, ["OOMKilled", "400Mi", "spec.cluster.scheduler.resources"]),
        ("scheduler", "Dask", {"crash": True}, ["exit code 1", "no space left"]),
    ],
)
def test_lost_cluster_names_why_its_leader_ended(
    component: str, kind: str, changes: dict[str, Any], words: list[str]
) -> None:
    leader = killed(component, uid="known")
    if "crash" in changes:
        leader["status"]["containerStatuses"][0]["lastState"] = ended(1, "OSError: no space left")
    known = {"kind": kind, "name": "c", "scheduler": {"pod": "s", "uid": "known", "restarts": 0}}
    status = settled(seen(component, leader, cluster=known))

    assert status["reason"] == "ClusterLost"
    for word in words:
        assert word in status["message"]

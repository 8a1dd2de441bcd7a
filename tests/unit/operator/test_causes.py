"""Every cause that Kubernetes reports of a pod reaches the run's status: for each part of a run."""

from __future__ import annotations

import math

import pytest

from flowcluster_operator.informer.projection import projected
from flowcluster_operator.model.pods import Blocked
from flowcluster_operator.policies.advice import advice
from flowcluster_operator.policies.causes import BUSY_SECONDS, SILENCE_SECONDS, cause
from flowcluster_operator.policies.spec_fields import fields_of
from flowcluster_operator.resources import JOB
from flowcluster_operator.trackers.upstream_activity import UpstreamActivity
from tests.support.causes import PARTS, seen
from tests.support.makers import (
    KEY,
    NOW,
    cluster,
    job,
    observed,
    pod,
)  # fmt: skip
from tests.support.plans import CHILDREN, READY_PODS, condition, settled, started
from tests.support.pod_statuses import CASES, blocked_pod

#: Each cause of each part. A driver's container is not started again in its pod.
MATRIX = [
    (name, component)
    for name in CASES
    for component in PARTS
    if (name, component) != ("out of memory, running again", "driver")
]


@pytest.mark.parametrize(("name", "component"), MATRIX)
def test_cause_of_a_pod_reaches_the_status_with_the_field_to_change(name: str, component: str) -> None:
    case = CASES[name]
    found = cause(seen(component, blocked_pod(component, case)), None, NOW)
    part = fields_of(component, PARTS[component][0])

    assert found is not None
    assert (found.reason, found.part) == (case.reason, component)
    assert found.message.startswith(f"{component}: ")
    for word in case.words:
        assert (word if "{pool" in word else word.format(**part._asdict())) in found.message


@pytest.mark.parametrize(("name", "component"), MATRIX)
def test_start_deadline_ends_the_run_with_the_cause(name: str, component: str) -> None:
    case = CASES[name]
    made = seen(component, blocked_pod(component, case), age=601)
    status = settled(made)

    assert condition(status, "Finished")["reason"] == case.reason
    assert "{" not in status["message"].replace("{pool: gpu}", "").replace("{a: b}", "")


@pytest.mark.parametrize("component", ["scheduler", "worker"])
def test_evicted_pod_that_was_replaced_holds_nothing_up(component: str) -> None:
    """A ReplicaSet leaves it there."""
    evicted = blocked_pod(component, CASES["evicted for memory"], uid="old", age=30)
    made = seen(component, evicted, pod(component, uid="new", age=5))

    assert cause(made, None, NOW) is None
    assert [entry["reason"] for entry in settled(made)["story"] if "part" in entry] == ["Evicted"]


@pytest.mark.parametrize("component", PARTS)
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"),
        ("EvictionByEvictionAPI", "Eviction API: evicting"),
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
    ],
)
def test_disruption_of_a_pod_is_in_the_story(component: str, reason: str, message: str) -> None:
    gone = pod(component, deleted=True)
    gone["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    )
    entries = settled(seen(component, gone))["story"]

    assert [(entry["reason"], entry["part"]) for entry in entries if "part" in entry] == [(reason, component)]
    assert message in next(entry["message"] for entry in entries if "part" in entry)


@pytest.mark.parametrize("status", ["True", "False"])
def test_job_that_another_party_has_suspended_is_named(status: str) -> None:
    """A controller that queues Jobs does so until it admits them."""
    suspended = {"type": "Suspended", "status": status, "reason": "JobSuspended", "message": "Job suspended"}
    made = projected(JOB, {**job(), "status": {"conditions": [suspended]}})
    seen = observed(status=started(), pods=READY_PODS, **{**CHILDREN, "job": made})
    found = cause(seen, None, NOW)

    assert (found is not None) is (status == "True")
    if found is not None:
        assert (found.reason, found.part) == ("JobSuspended", "driver")
        assert settled(seen)["reason"] == "JobSuspended"


@pytest.mark.parametrize("component", ["scheduler", "worker"])
def test_several_pods_of_one_part_are_counted(component: str) -> None:
    pods = [blocked_pod(component, CASES["cpu"], uid=f"p{number}") for number in range(3)]
    found = cause(seen(component, *pods), None, NOW)

    assert found is not None
    assert found.message.startswith(f"3 of 3 {component}s: ")


def test_pod_that_is_ready_holds_nothing_up() -> None:
    made = observed(status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN)

    assert cause(made, None, NOW) is None


def test_volume_of_the_code_names_the_field_of_the_source() -> None:
    words = 'MountVolume.SetUp failed for volume "code" : configmap "absent-code" not found'
    found = advice(Blocked("FailedMount", words), fields_of("driver", None), "driver", "pod-1")

    assert "spec.flow.source.configMap.name" in found


class TestSilence:
    """Whether the operator that serves the kind of a cluster is away, or has many clusters to make."""

    @pytest.mark.parametrize(
        ("age", "idle", "reason"),
        [
            (SILENCE_SECONDS - 1, math.inf, "Waiting"),
            (SILENCE_SECONDS, math.inf, "ClusterOperatorSilent"),
            (SILENCE_SECONDS, SILENCE_SECONDS, "ClusterOperatorSilent"),
            (BUSY_SECONDS - 1, SILENCE_SECONDS - 1, "Waiting"),
            (BUSY_SECONDS, 0, "ClusterOperatorSilent"),
        ],
    )
    def test_operator_is_silent_when_it_serves_no_other_cluster(self, age: float, idle: float, reason: str) -> None:
        children = {**CHILDREN, "cluster": cluster(age=age), "deployments": ()}
        found = settled(observed(status=started(), upstream_idle=idle, pods=[pod("driver")], **children))

        assert found["reason"] == reason

    def test_activity_is_that_of_the_last_cluster_that_began_to_be_served(self) -> None:
        activity, other, ray = UpstreamActivity(), KEY._replace(uid="other"), KEY._replace(uid="ray")
        before = activity.record("Dask", KEY, "a", False, 100)
        activity.record("Dask", other, "b", True, 101)
        activity.record("Ray", ray, "c", True, 102)
        activity.record("Dask", other, "b", True, 103)

        assert (before, activity.record("Dask", KEY, "a", False, 104)) == (math.inf, 3)

    def test_activity_begins_again_with_another_cluster_of_the_run(self) -> None:
        activity = UpstreamActivity()
        activity.record("Dask", KEY, "a", True, 100)

        assert activity.record("Dask", KEY, "b", True, 105) == 0

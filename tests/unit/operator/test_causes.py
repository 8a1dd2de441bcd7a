"""Every cause that Kubernetes reports of a pod reaches the run's status: for each part of a run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.model.failures import Rejection, WarningEvent
from flowcluster_operator.model.pods import Blocked
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.advice import advice
from flowcluster_operator.policies.causes import BUSY_SECONDS, SILENCE_SECONDS, cause
from flowcluster_operator.policies.spec_fields import fields_of
from flowcluster_operator.resources import JOB
from flowcluster_operator.trackers.upstream_activity import UpstreamActivity
from tests.support.makers import (
    KEY,
    KEYS,
    NOW,
    SETTINGS,
    cluster,
    deployment,
    ended,
    job,
    observed,
    outcome,
    pod,
    spec,
    stored,
)  # fmt: skip
from tests.support.plans import CHILDREN, READY_PODS, condition, plan_for, settled, started
from tests.support.pod_statuses import CASES, blocked_pod

RAY: dict[str, Any] = {"cluster": {"kind": "Ray", "workers": {"minimum": 1, "maximum": 1}}}
RAY_CLUSTER = stored(
    ray_cluster(KEY, FlowRunSpec.model_validate(spec(**RAY)), SETTINGS, Scale(minimum=1, maximum=1, target=1), KEYS)
)
#: Of each part: the kind of the cluster, and the pods beside it.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "driver": ("Dask", ("scheduler", "worker")),
    "scheduler": ("Dask", ("driver",)),
    "head": ("Ray", ("driver",)),
    "worker": ("Dask", ("driver", "scheduler")),
}


#: Each cause of each part. A driver's container is not started again in its pod.
MATRIX = [
    (name, component)
    for name in CASES
    for component in PARTS
    if (name, component) != ("out of memory, running again", "driver")
]


def seen(component: str, *pods: dict[str, Any], **status: Any) -> Any:
    """A run that starts, with these pods of one part and running ones of the others."""
    kind, others = PARTS[component]
    body = spec(workers=1) if kind == "Dask" else spec(**RAY)
    children = CHILDREN if kind == "Dask" else CHILDREN | {"cluster": RAY_CLUSTER, "deployments": ()}
    return observed(body, status=started(**status), pods=[*pods, *map(pod, others)], **children)


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


def killed(component: str, **more: Any) -> dict[str, Any]:
    """A pod that runs and is Ready again after its container was killed at its memory limit."""
    made = pod(component, restarts=1, **more)
    made["spec"] = {"containers": [{"name": component, "resources": {"limits": {"memory": "400Mi"}}}]}
    made["status"]["containerStatuses"][0]["lastState"] = ended(137, "", "OOMKilled")
    return made


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


REFUSALS = {
    "missing account": (
        'pods "x-" is forbidden: error looking up service account team/reporter: serviceaccount "reporter" not found',
        ["ServiceAccount reporter", "serviceAccountName in {template}"],
    ),
    "quota exceeded": (
        'pods "x-" is forbidden: exceeded quota: team, requested: limits.cpu=1, used: limits.cpu=8, limited: '
        "limits.cpu=8",
        ["exceeded quota: team", "{resources}"],
    ),
    "quota asks for limits": (
        'pods "x-" is forbidden: failed quota: team: must specify limits.cpu for: MAIN; limits.memory for: MAIN',
        ["must specify limits.cpu", "{resources}"],
    ),
    "LimitRange": (
        'pods "x-" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
        ["LimitRange", "{resources}"],
    ),
    "Pod Security": (
        'pods "x-" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
        '(container "shipper" must set securityContext.allowPrivilegeEscalation=false)',
        ["violates PodSecurity", "securityContext", "{template}"],
    ),
    "webhook": (
        'admission webhook "labels.policy.example" denied the request: label team is missing',
        ["label team is missing", "{template}", "administrator"],
    ),
    "policy": (
        "pods \"x-\" is forbidden: ValidatingAdmissionPolicy 'teams' with binding 'teams' denied request: no team",
        ["denied request: no team", "{template}", "administrator"],
    ),
    "webhook away": (
        'Internal error occurred: failed calling webhook "a.example": failed to call webhook: Post "https://a": EOF',
        ["does not answer", "administrator"],
    ),
    "priority class": (
        'pods "x-" is forbidden: no PriorityClass with name high was found',
        ["priorityClassName in {template}"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_pod_of_a_driver_names_the_field(name: str) -> None:
    message, words = REFUSALS[name]
    warnings = (WarningEvent("Job", "x", "FailedCreate", f"Error creating: {message}"),)
    found = cause(observed(status=started(), pods=READY_PODS, **{**CHILDREN, "warnings": warnings}), None, NOW)

    assert found is not None
    assert (found.reason, found.part) == ("FailedCreate", "driver")
    for word in words:
        assert word.format(**fields_of("driver", "Dask")._asdict()) in found.message


@pytest.mark.parametrize("kind", ["Lease", "Secret", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"])
@pytest.mark.parametrize("name", ["policy", "webhook", "webhook away", "quota exceeded"])
def test_refused_child_that_has_nothing_of_a_template_names_no_field(name: str, kind: str) -> None:
    message, _ = REFUSALS[name]
    refused = (Rejection(kind, "x", 403, message),)
    found = cause(observed(status=started(), pods=READY_PODS, **CHILDREN, rejections=refused), None, NOW)

    assert found is not None
    assert found.reason == "Rejected"
    assert "administrator" in found.message
    assert "spec." not in found.message


@pytest.mark.parametrize("component", ["scheduler", "worker"])
@pytest.mark.parametrize("name", REFUSALS)
def test_refused_pod_of_a_deployment_names_the_field(name: str, component: str) -> None:
    message, words = REFUSALS[name]
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    made = deployment(component, conditions=[failure])
    found = cause(observed(status=started(), **{**CHILDREN, "deployments": (made,)}), None, NOW)

    assert found is not None
    assert (found.reason, found.part) == ("FailedCreate", component)
    for word in words:
        assert word.format(**fields_of(component, "Dask")._asdict()) in found.message


def test_deployment_that_dask_kubernetes_cannot_make_is_named() -> None:
    """A template that DaskCluster admits, and Deployment does not: the answer is in an Event only."""
    text = "Handler 'daskcluster_create_components' failed with an exception. Will retry.\nTraceback:"
    answer = 'kr8s.ServerError: Deployment.apps "x" is invalid: spec.template.spec.containers[0].ports: Duplicate value'
    warnings = (WarningEvent("DaskCluster", "x", "Logging", f"{text}\n{answer}"),)
    found = cause(observed(status=started(), **{**CHILDREN, "deployments": (), "warnings": warnings}), None, NOW)

    assert found is not None
    assert (found.reason, found.part) == ("Rejected", "cluster")
    assert found.message == f"no pod for the cluster: {answer}"


def test_worker_that_dask_kubernetes_cannot_make_is_named() -> None:
    text = "Handler 'daskworkergroup_replica_update/spec.worker.replicas' failed with an exception. Will retry."
    answer = 'kr8s.ServerError: deployments.apps "x" is forbidden: exceeded quota: team, requested: count/deployments=1'
    warnings = (WarningEvent("DaskWorkerGroup", "x", "Logging", f"{text}\nTraceback:\n{answer}"),)
    seen = observed(status=started(), pods=[pod("scheduler"), pod("driver")], **{**CHILDREN, "warnings": warnings})
    found = cause(seen, None, NOW)

    assert found is not None
    assert (found.reason, found.part) == ("Rejected", "worker")
    assert found.message.startswith(f"no pod for the worker: {answer}")
    assert "spec.cluster.workers.resources" in found.message


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


def test_refused_child_names_what_to_do() -> None:
    refused = Rejection("Job", "x", 403, 'jobs.batch "x" is forbidden: exceeded quota: team, requested: count/jobs=1')
    found = cause(observed(status=started(), **{**CHILDREN, "job": None, "rejections": (refused,)}), None, NOW)

    assert found is not None
    assert found.part == "driver"
    assert "quota raised" in found.message


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

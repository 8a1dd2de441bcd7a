"""The cause in a run's status when the API server refuses a child or a pod."""

from __future__ import annotations

import pytest

from flowcluster_operator.model.failures import Rejection, WarningEvent
from flowcluster_operator.policies.causes import cause
from flowcluster_operator.policies.spec_fields import fields_of
from tests.support.makers import (
    NOW,
    deployment,
    observed,
    pod,
)  # fmt: skip
from tests.support.plans import CHILDREN, READY_PODS, started

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


def test_refused_child_names_what_to_do() -> None:
    refused = Rejection("Job", "x", 403, 'jobs.batch "x" is forbidden: exceeded quota: team, requested: count/jobs=1')
    found = cause(observed(status=started(), **{**CHILDREN, "job": None, "rejections": (refused,)}), None, NOW)

    assert found is not None
    assert found.part == "driver"
    assert "quota raised" in found.message

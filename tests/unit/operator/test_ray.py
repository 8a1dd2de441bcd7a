"""Ray clusters: the RayCluster that the operator requests, and how it reads KubeRay's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowcluster_api import names, offers
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.ray import RayBackend
from flowcluster_operator.desired.autoscaler_token import TOKEN_MOUNT
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.model.failures import Rejection, WarningEvent
from flowcluster_operator.model.plan import SetWorkers
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.autoscaler_bounds import update_bounds
from tests.support.makers import KEY, KEYS, LEASE_UID, SETTINGS, ended, job, observed, of_lease, pod, spec, stored
from tests.support.plans import RIGHTS, kinds, plan_for, secret_of, settled, started

RAY = {"kind": "Ray", "workers": {"minimum": 2, "maximum": 2}}
FIXED = Scale(2, 2, 2)
ADAPTIVE = {"kind": "Ray", "workers": {"minimum": 0, "maximum": 4}}


def built(cluster: dict[str, Any] = RAY, flow: bool = True, scale: Scale = FIXED) -> dict[str, Any]:
    """The spec of the RayCluster."""
    parsed = FlowRunSpec.model_validate(spec(flow=flow, workers=None, cluster=cluster))
    return dict(ray_cluster(KEY, parsed, SETTINGS, scale, KEYS)["spec"])


def there(cluster: dict[str, Any] = RAY, scale: Scale = FIXED, status: Any = None, **more: Any) -> Any:
    """A run whose RayCluster exists."""
    body = spec(workers=None, cluster=cluster)
    made = of_lease(ray_cluster(KEY, FlowRunSpec.model_validate(body), SETTINGS, scale, KEYS))
    made = stored(made, age=more.pop("age", 30))
    children = {"cluster": made | ({"status": status} if status else {}), "job": job(body), **RIGHTS}
    return observed(body, status=more.pop("run_status", started()), **children | more)


READY_PODS = [pod("head"), pod("worker", uid="w1"), pod("worker", uid="w2")]


def test_ray_scales_itself_also_where_the_bounds_are_equal() -> None:
    """Its autoscaler is a container of the head, so it cannot be added when a user edits the bounds."""
    for scaled in (built(), built(ADAPTIVE, scale=Scale(0, 4, 0)), built(RAY, flow=False)):
        assert scaled["enableInTreeAutoscaling"] is True
        assert scaled["autoscalerOptions"]["version"] == "v2"


def test_ray_cluster_requires_the_token_of_the_run() -> None:
    """The token is in the run's credentials, which all of its pods mount."""
    for body in (built(), built(ADAPTIVE, flow=False, scale=Scale(0, 4, 0))):
        assert body["authOptions"] == {"mode": "token", "secretName": KEYS}
        for template in (body["headGroupSpec"]["template"], body["workerGroupSpecs"][0]["template"]):
            assert secret_of(template["spec"]) == KEYS


def test_only_the_autoscaler_gets_a_service_account_token() -> None:
    for body in (built(), built(ADAPTIVE, flow=False, scale=Scale(0, 4, 0))):
        head, worker = body["headGroupSpec"]["template"]["spec"], body["workerGroupSpecs"][0]["template"]["spec"]
        assert not head["automountServiceAccountToken"]
        assert not worker["automountServiceAccountToken"]
        tokens = {
            volume["name"]
            for volume in (*head["volumes"], *worker["volumes"])
            if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
        }
        mounts = body.get("autoscalerOptions", {}).get("volumeMounts", [])
        assert tokens == {mount["name"] for mount in mounts}
        for container in (*head["containers"], *worker["containers"]):
            assert not tokens & {mount["name"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize(
    "pod_spec",
    [
        {"containers": [{"name": "head", "volumeMounts": [{"name": TOKEN_MOUNT["name"], "mountPath": "/token"}]}]},
        {"initContainers": [{"name": "a", "volumeMounts": [{"name": TOKEN_MOUNT["name"], "mountPath": "/token"}]}]},
        {"volumes": [{"name": TOKEN_MOUNT["name"], "emptyDir": {}}]},
    ],
)
def test_template_that_takes_the_token_of_the_autoscaler_fails_the_run(pod_spec: dict[str, Any]) -> None:
    body = spec(workers=None, cluster={**ADAPTIVE, "scheduler": {"template": {"spec": pod_spec}}})
    status = settled(observed(body, status=started()))

    assert (status["phase"], status["reason"]) == ("Stopping", "InvalidTemplate")
    assert TOKEN_MOUNT["name"] in status["message"]


def test_workers_offer_threads_as_cpus_and_task_resources() -> None:
    """Threads are CPUs, and GPU is a resource of Ray. The others are custom resources, quoted for KubeRay's shell."""
    workers = {"minimum": 1, "maximum": 1, "threads": 3, "taskResources": {"GPU": 2, "desk": 4}}
    (group,) = built({"kind": "Ray", "workers": workers})["workerGroupSpecs"]
    params = group["rayStartParams"]

    assert (params["num-cpus"], params["num-gpus"]) == ("3", "2")
    # As Ray's autoscaler reads it, which wants integers.
    (amount,) = json.loads(params["resources"][1:-1].replace("\\", "")).values()
    assert (amount, type(amount)) == (4, int)


def environment(pod_spec: dict[str, Any]) -> dict[str, str]:
    """Environment variables of a pod's first container."""
    return {item["name"]: item.get("value", "") for item in pod_spec["containers"][0]["env"]}


def test_driver_and_workers_get_the_offers_of_workers() -> None:
    """They need them before a worker exists. An existing cluster has no known offers."""
    cluster = {"kind": "Ray", "workers": {"minimum": 0, "maximum": 1, "threads": 2, "taskResources": {"desk": 1}}}
    (group,) = built(cluster)["workerGroupSpecs"]
    own, guest = (
        driver_job(KEY, FlowRunSpec.model_validate(spec(workers=None, cluster=one)), SETTINGS, KEYS, "head:6379")
        for one in (cluster, {"kind": "Ray", "ref": {"name": "shared"}})
    )
    offered = offers.from_env(environment(group["template"]["spec"]))

    assert offered is not None
    assert (offered["CPU"], offered["desk"], offered["GPU"], offered["memory"]) == (2, 1, 0, None)
    assert offers.from_env(environment(own["spec"]["template"]["spec"])) == offered
    assert offers.from_env(environment(guest["spec"]["template"]["spec"])) is None


@pytest.mark.parametrize(
    ("workers", "gpus"),
    [
        ({}, 0),
        ({"resources": {"limits": {"nvidia.com/gpu": "2"}}}, 2),
        ({"taskResources": {"GPU": 0.5}, "resources": {"limits": {"nvidia.com/gpu": 1}}}, 0.5),
        ({"template": {"spec": {"containers": [{"name": "worker", "env": []}]}}}, 0),
        ({"template": {"spec": {"containers": [{"name": "worker", "resources": {"limits": {}}}]}}}, None),
    ],
)
def test_gpus_of_a_worker(workers: dict[str, Any], gpus: float | None) -> None:
    """What tasks are offered wins over limits; a template may change them to anything."""
    assert offers.offers(workers)["GPU"] == gpus


def test_cluster_and_driver_come_up_side_by_side() -> None:
    """A Ray run is started as a Dask run is."""
    body = spec(workers=None, cluster=RAY)

    assert kinds(plan_for(observed(body, **RIGHTS))) == ["RayCluster", "Job"]


def test_ready_means_that_head_and_workers_are() -> None:
    """RayCluster's own state stays ready whatever happens to its pods."""
    lying = {"state": "ready", "conditions": [{"type": "HeadPodReady", "status": "True"}]}
    running = settled(there(status=lying, pods=[*READY_PODS, pod("driver")]))
    starting = settled(there(status=lying, pods=[*READY_PODS[:2], pod("driver")]))
    headless = settled(there(status=lying, pods=[*READY_PODS[1:], pod("driver")]))

    assert running["phase"] == "Running"
    name = names.ray_cluster_name(KEY.name, KEY.uid, LEASE_UID)
    assert running["cluster"]["address"] == f"{name}-head-svc.team.svc.cluster.local:6379"
    assert starting["message"] == "waiting for 1 of 2 workers"
    assert headless["message"] == "waiting for the head"


@pytest.mark.parametrize(
    "head",
    [
        [],
        [pod("head", uid="known", deleted=True)],
        [pod("head", ended(137), uid="known", phase="Failed")],
        [pod("head", uid="another")],
    ],
    ids=["gone", "being deleted", "ended", "another one"],
)
def test_run_ends_as_cluster_lost_when_its_head_is_lost(head: list[dict[str, Any]]) -> None:
    """All state is lost with the head, so a new head does not help the run."""
    known = {"kind": "Ray", "name": "c", "scheduler": {"pod": "c-head-1", "uid": "known", "restarts": 0}}
    status = started(cluster=known)

    assert settled(there(run_status=status, pods=[*head, *READY_PODS[1:], pod("driver")]))["reason"] == "ClusterLost"


def test_message_explains_why_there_is_no_head() -> None:
    """KubeRay reports the cause by a condition, or only by an Event. It can also be that KubeRay is not installed."""
    refused = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]}
    warned = WarningEvent("RayCluster", "c", "InvalidRayClusterSpec", "rayVersion is not good")
    missing = Rejection("RayCluster", "c", 404, "not found")

    assert "violates PodSecurity" in settled(there(status=refused))["message"]
    assert settled(there(warnings=(warned,)))["reason"] == "InvalidRayClusterSpec"
    status = settled(observed(spec(workers=None, cluster=RAY), job=job(), rejections=(missing,), **RIGHTS))
    assert status["reason"] == "ClusterKindMissing"
    assert "kuberay-operator.enabled" in status["message"]


def test_status_names_a_failed_container_beside_the_head() -> None:
    """Without its autoscaler, a head never becomes Ready, and its own container does not report why."""
    head = pod("head", phase="Running")
    beside = {"name": "autoscaler", "state": ended(1, "AssertionError: no int")}
    head["status"]["containerStatuses"].append(beside)
    status = settled(there(pods=[head, *READY_PODS[1:], pod("driver")]))

    assert status["reason"] == "Error"
    assert (
        "head: Error: container autoscaler ended with Error, exit code 1: AssertionError: no int" in status["message"]
    )


def patch(found: Any, scale: Scale) -> dict[str, int]:
    """The fields that the step towards `scale` sets."""
    actions = update_bounds(found, RayBackend(), scale).actions
    if not actions:
        return {}
    (action,) = actions
    assert isinstance(action, SetWorkers)
    test, *steps = action.patch
    assert test == {"op": "test", "path": "/spec/workerGroupSpecs/0/groupName", "value": "workers"}
    return {str(step["path"]).rpartition("/")[2]: step["value"] for step in steps if isinstance(step, dict)}


def test_only_the_bounds_are_set_where_ray_scales_itself() -> None:
    """The number is its autoscaler's; what is as it should be is not written again."""
    found = there(ADAPTIVE, Scale(0, 4, 0), pods=[pod("head")])

    assert patch(found, Scale(0, 4, 3)) == {}
    assert patch(found, Scale(2, 6, 2)) == {"minReplicas": 2, "maxReplicas": 6}


def test_upper_bound_is_lowered_only_as_workers_end() -> None:
    """With a bound below the number of workers, the autoscaler would stop busy workers."""
    workers = [pod("worker", uid=f"w{number}") for number in range(3)]
    found = there(ADAPTIVE, Scale(0, 4, 3), pods=[pod("head"), *workers])

    assert patch(found, Scale(1, 1, 1)) == {"minReplicas": 1, "maxReplicas": 3}
    assert patch(there(ADAPTIVE, Scale(0, 4, 3), pods=[pod("head"), workers[0]]), Scale(1, 1, 1)) == {
        "minReplicas": 1,
        "maxReplicas": 1,
    }


def test_bounds_that_were_equal_are_set_as_others_are() -> None:
    found = there(RAY, Scale(2, 2, 2), pods=READY_PODS)

    assert patch(found, Scale(2, 3, 2)) == {"maxReplicas": 3}
    assert patch(found, Scale(3, 3, 3)) == {"minReplicas": 3, "maxReplicas": 3}
    assert patch(found, Scale(1, 1, 1)) == {"minReplicas": 1}


def test_bounds_are_not_written_before_kuberay_has_acted_on_the_cluster() -> None:
    """KubeRay can be down, or refuse the cluster: then the bounds have no effect."""
    assert patch(there(ADAPTIVE, Scale(0, 4, 0)), Scale(1, 4, 1)) == {}


@pytest.mark.parametrize(
    ("auth", "secret"),
    [(None, None), ({"mode": "disabled"}, None), ({"mode": "token"}, "shared"), ({"secretName": "mine"}, "mine")],
)
def test_driver_gets_the_token_of_a_referenced_cluster(auth: dict[str, Any] | None, secret: str | None) -> None:
    """The driver gets the token from the same Secret as KubeRay. It joins a cluster without a token as it is."""
    shared = {"metadata": {"name": "shared"}, "spec": {"authOptions": auth} if auth else {}}

    assert RayBackend().credentials(shared) == secret

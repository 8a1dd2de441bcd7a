"""Requests of a run's pods to their namespace, to other namespaces and to the cluster, which must be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client

from flowcluster_api import names
from tests.support.templates import all_broken, spec_with
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World

pytestmark = pytest.mark.timeout(240)

RUNS = f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.PLURAL}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
CORE = "/api/v1/namespaces/{namespace}"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FLOW_RUN = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "evil"}}
FLOW_RUN_SPEC = {"cluster": {"kind": "Dask", "workers": {"template": {"spec": {"serviceAccountName": "default"}}}}}
OWNER = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "{RUN}", "uid": "{UID}", "controller": True}
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evil"},
    "spec": {"containers": [{"name": "a", "image": "a"}]},
}  # fmt: skip
JOB = {
    "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "evil"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", **POD["spec"]}}},  # type: ignore[dict-item]
}  # fmt: skip
TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
ROLE: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "evil"}, "rules": [],
}  # fmt: skip
BINDING = {
    **ROLE,
    "kind": "RoleBinding",
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
    "subjects": [],
}
FENCE = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "evil"},
    "spec": {"podSelector": {}},
}  # fmt: skip

#: Requests that must be forbidden in every namespace: method, path and body.
IN_A_NAMESPACE: dict[str, tuple[Any, ...]] = {
    "create a FlowRun": ("POST", RUNS, {**FLOW_RUN, "spec": FLOW_RUN_SPEC}),
    "create a child run": (
        "POST", RUNS, {**FLOW_RUN, "metadata": {"name": "evil", "ownerReferences": [OWNER]}, "spec": FLOW_RUN_SPEC}
    ),
    "list FlowRuns": ("GET", RUNS),
    "read another FlowRun": ("GET", f"{RUNS}/other"),
    "change another FlowRun": ("PATCH", f"{RUNS}/other", {"spec": {"cancel": True}}),
    "delete all FlowRuns": ("DELETE", RUNS),
    "list Leases": ("GET", LEASES),
    "read another Lease": ("GET", f"{LEASES}/other"),
    "change another Lease": ("PATCH", f"{LEASES}/other", {"spec": {}}),
    "create a Lease": (
        "POST", LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "evil"}}
    ),
    "list Secrets": ("GET", f"{CORE}/secrets"),
    "read a Secret": ("GET", f"{CORE}/secrets/other"),
    "list ConfigMaps": ("GET", f"{CORE}/configmaps"),
    "list pods": ("GET", f"{CORE}/pods"),
    "create a pod": ("POST", f"{CORE}/pods", POD),
    "delete all pods": ("DELETE", f"{CORE}/pods"),
    "run a command in a pod": ("POST", f"{CORE}/pods/other/exec?command=id"),
    "forward a port of a pod": ("POST", f"{CORE}/pods/other/portforward?ports=1"),
    # The verb of a WebSocket is get.
    "run a command in a pod by a WebSocket": ("GET", f"{CORE}/pods/other/exec?command=id"),
    "forward a port of a pod by a WebSocket": ("GET", f"{CORE}/pods/other/portforward?ports=1"),
    "reach a Service through the API server": ("GET", f"{CORE}/services/other:80/proxy/"),
    "create a Job": ("POST", "/apis/batch/v1/namespaces/{namespace}/jobs", JOB),
    "list ServiceAccounts": ("GET", f"{CORE}/serviceaccounts"),
    "get a token of another account": ("POST", f"{CORE}/serviceaccounts/default/token", TOKEN),
    "create a Role": ("POST", f"{RBAC}/namespaces/{{namespace}}/roles", ROLE),
    "create a RoleBinding": ("POST", f"{RBAC}/namespaces/{{namespace}}/rolebindings", BINDING),
    "list DaskClusters": ("GET", "/apis/kubernetes.dask.org/v1/namespaces/{namespace}/daskclusters"),
    "list RayClusters": ("GET", "/apis/ray.io/v1/namespaces/{namespace}/rayclusters"),
    "create a NetworkPolicy": ("POST", "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", FENCE),
    "delete all NetworkPolicies": ("DELETE", "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"),
}  # fmt: skip
#: The same for the run's own objects.
ON_ITSELF: dict[str, tuple[Any, ...]] = {
    "change its own spec": ("PATCH", f"{RUNS}/{{RUN}}", {"spec": {"activeDeadlineSeconds": 9999}}),
    "change its own status": ("PATCH", f"{RUNS}/{{RUN}}/status", {"status": {"phase": "Succeeded"}}),
    "become another run's child": ("PATCH", f"{RUNS}/{{RUN}}", {"metadata": {"ownerReferences": [OWNER]}}),
    "delete its own FlowRun": ("DELETE", f"{RUNS}/{{RUN}}"),
    "delete its own Lease": ("DELETE", f"{LEASES}/{{LEASE}}"),
    "replace its own Lease": ("PUT", f"{LEASES}/{{LEASE}}", {"metadata": {"name": "{LEASE}"}}),
    "widen its own Role": ("PATCH", f"{RBAC}/namespaces/{{namespace}}/roles/{{LEASE}}-driver", {"rules": []}),
}
IN_THE_CLUSTER: dict[str, tuple[Any, ...]] = {
    "list namespaces": ("GET", "/api/v1/namespaces"),
    "list nodes": ("GET", "/api/v1/nodes"),
    "list FlowRuns of all namespaces": ("GET", f"/apis/{names.API_VERSION}/{names.PLURAL}"),
    "list Secrets of all namespaces": ("GET", "/api/v1/secrets"),
    "bind a ClusterRole": ("POST", f"{RBAC}/clusterrolebindings", {**BINDING, "kind": "ClusterRoleBinding"}),
    "delete the policy for templates": (
        "DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/flowcluster-templates"
    ),
}  # fmt: skip
#: Requests that a driver must be able to send.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "read its own FlowRun": ("GET", f"{RUNS}/{{RUN}}"),
    "read its own Lease": ("GET", f"{LEASES}/{{LEASE}}"),
    "renew its own Lease": ("PATCH", f"{LEASES}/{{LEASE}}", {"metadata": {"annotations": {"test": "renewed"}}}),
}


def placed(requests: dict[str, tuple[Any, ...]], namespace: str, where: str = "") -> dict[str, list[Any]]:
    """Fill a namespace into the paths of requests; `where` follows their names."""
    return {
        f"{what}{where}": [method, path.replace("{namespace}", namespace), *body]
        for what, (method, path, *body) in requests.items()
    }


def result_of(world: World, name: str, seconds: float = 150) -> Any:
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=seconds)
    assert status["phase"] == "Succeeded", status["message"]
    return json.loads(status["flow"]["result"])


def test_driver_can_access_only_its_own_run_and_lease(world: World) -> None:
    requests = {
        **placed(ALLOWED, world.namespace),
        **placed(ON_ITSELF, world.namespace),
        **placed(IN_A_NAMESPACE, world.namespace),
        **placed(IN_A_NAMESPACE, "default", " in another namespace"),
        **placed(IN_THE_CLUSTER, world.namespace),
    }
    described = world.flow("attempts.py:from_driver", parameters={"requests": requests})
    world.create(FlowRun("driver", described, workers=None).body())

    assert result_of(world, "driver") == dict.fromkeys(ALLOWED, 200)


def test_worker_has_no_credentials(world: World) -> None:
    requests = {**placed(IN_A_NAMESPACE, world.namespace), **placed(IN_THE_CLUSTER, world.namespace)}
    described = world.flow("attempts.py:from_a_worker", parameters={"requests": requests})
    world.create(FlowRun("worker", described).body())

    assert result_of(world, "worker") == {"token": False, "answers": {}}


def test_child_run_beyond_its_parent_is_refused(world: World) -> None:
    def workers(**fields: Any) -> dict[str, Any]:
        return {"cluster": {"kind": "Dask", "workers": {"minimum": 0, "maximum": 1, **fields}}}

    def container(**fields: Any) -> dict[str, Any]:
        return workers(template={"spec": {"containers": [{"name": "worker", **fields}]}})

    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "key"}}}
    beyond = {
        "a flow": {"flow": {"entrypoint": "attempts.py:from_driver"}},
        "another account": workers(template={"spec": {"serviceAccountName": "default"}}),
        "the node's files": workers(template={"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
        "a Secret as a volume": workers(
            template={"spec": {"volumes": [{"name": "a", "secret": {"secretName": "other"}}]}}
        ),
        "a Secret as a variable": container(env=[secret]),
        "privileges": container(securityContext={"privileged": True}),
        "another image": {"cluster": {"kind": "Dask", "image": "registry.invalid/evil:1"}},
        "another cluster": {"cluster": {"kind": "Dask", "ref": {"name": "other"}}},
        "more workers": workers(minimum=2, maximum=2),
        "no spec": {},
    }
    body = FlowRun("parent", world.flow("attempts.py:children", parameters={"specs": beyond})).body()
    body["spec"]["cluster"]["workers"] = {"minimum": 0, "maximum": 1}
    world.create(body)
    answers = result_of(world, "parent")

    assert {what: answer for what, answer in answers.items() if "refused to create child run" not in answer} == {}
    assert [run["metadata"]["name"] for run in world.runs()] == ["parent"]


def test_driver_that_gives_its_lease_to_another_run_does_not_change_that_run(world: World) -> None:
    world.create(FlowRun("victim", world.flow("endless.py:waits"), workers=None).body())
    wait_until(lambda: world.holder("victim"), "the victim's driver renews its Lease", 90)
    victim = world.run("victim")
    assert victim is not None
    parameters = {"name": "victim", "uid": victim["metadata"]["uid"]}
    described = world.flow("attempts.py:gives_its_lease_away", parameters=parameters)
    world.create(FlowRun("thief", described, workers=None).body())
    world.wait_phase("thief", "Succeeded", "Failed", seconds=150)

    assert world.status("victim")["phase"] == "Running"
    assert sorted(run["metadata"]["name"] for run in world.runs()) == ["thief", "victim"]
    world.end("victim", "cancel")


@pytest.mark.parametrize("uid", ["00000000-0000-4000-8000-000000000000", "own"])
def test_api_server_refuses_a_flow_run_that_a_user_makes_a_child_run(world: World, uid: str) -> None:
    """It refuses owners that exist and owners that do not."""
    above = world.create(FlowRun("above", world.flow("endless.py:waits")).body())
    world.wait_phase("above", "Running")
    owner = {**names.reference("above", above["metadata"]["uid"] if uid == "own" else uid), "controller": True}
    body = FlowRun("below", None, workers=2).body()
    body["metadata"]["ownerReferences"] = [owner]
    with pytest.raises(client.ApiException) as refused:
        world.create(body)

    assert refused.value.status == 403
    assert "flowcluster-child-runs" in str(refused.value.body)
    assert world.run("below") is None
    world.end("above", "delete")


def test_api_server_refuses_templates_that_the_administrator_does_not_allow(world: World) -> None:
    for case in all_broken():
        body = {**FLOW_RUN, "spec": spec_with(case.part, case.template)}
        with pytest.raises(client.ApiException) as refused:
            world.create(body, dry_run=True)
        assert refused.value.status == 403, case
        assert "ValidatingAdmissionPolicy" in str(refused.value.body), case


def test_only_pods_of_a_run_reach_its_pods(world: World) -> None:
    """Not every network plugin enforces the policy. The test checks what the operator writes for one that does."""
    created = world.create(FlowRun("fenced", world.flow("endless.py:waits")).body())
    world.wait_phase("fenced", "Running")
    (policy,) = world.networking.list_namespaced_network_policy(world.namespace).items
    own = {names.LABEL_RUN_UID: created["metadata"]["uid"]}
    (rule,) = policy.spec.ingress
    (peer,) = rule._from

    assert policy.spec.pod_selector.match_labels == own
    assert [(item.key, item.values) for item in peer.pod_selector.match_expressions] == [
        (names.LABEL_RUN_UID, [created["metadata"]["uid"]])
    ]
    for component in ("driver", "scheduler", "worker"):
        assert all(own.items() <= pod.metadata.labels.items() for pod in world.pods(component))
    world.end("fenced", "cancel")


def test_driver_on_ray_has_no_token_of_the_autoscaler(world: World) -> None:
    """The head's container mounts no token, the autoscaler's does."""
    cluster = {"kind": "Ray", "workers": {"minimum": 0, "maximum": 1}}
    world.create(FlowRun("on-ray", world.flow("endless.py:waits"), None, {"cluster": cluster}).body())
    (head,) = wait_until(lambda: world.pods("head"), "there is a head", 60) or []
    containers = {item.name: [mount.mount_path for mount in item.volume_mounts] for item in head.spec.containers}
    token = "/var/run/secrets/kubernetes.io/serviceaccount"

    assert [name for name, paths in containers.items() if token in paths] == ["autoscaler"]
    world.wait_phase("on-ray", "Running", seconds=150)
    world.end("on-ray", "delete")

"""The chart's policy for child runs on a real API server: only the operator can create them."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.manifests import documents_in
from tests.support.rig.client import ApiError, Client
from tests.support.rig.kinds import CLUSTER_ROLE_BINDING, FLOW_RUN, Kind
from tests.support.rig.rig import Rig
from tests.support.rig.rights import OPERATOR
from tests.support.waiting import wait_until
from tools.chart import package
from tools.cluster import api

pytestmark = [pytest.mark.rig, pytest.mark.timeout(300)]

_POLICY = Kind("ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1", "validatingadmissionpolicies")
_BINDING = Kind(
    "ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"
)
#: A user of the namespace.
_TENANT = "tenant"
_NAMESPACE = "default"
Body = dict[str, Any]


def rendered(folder: pathlib.Path) -> list[Body]:
    """Return the chart's policy for child runs and its binding."""
    helm = str(api.tool("helm"))
    command = [helm, "template", "flowcluster", str(package(helm, folder)), "--namespace", "system"]
    done = subprocess.run([*command, "--kube-version", "1.34.0"], capture_output=True, text=True, check=True)
    found = documents_in(done.stdout)
    return [document for document in found if document["metadata"]["name"] == "flowcluster-child-runs"]


def kind_of(body: Body) -> Kind:
    return _POLICY if body["kind"] == _POLICY.name else _BINDING


def flow_run(name: str, owner: Body | None = None) -> Body:
    metadata: Body = {"name": name} | ({"ownerReferences": [owner]} if owner else {})
    spec = {"cluster": {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}}, "suspend": True}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}


class Namespace:
    """A namespace with a run, in which the policy is enforced.

    Attributes:
        owner: a reference to the run.
        tenant: a user who can write FlowRuns.
        operator: the operator's account.
    """

    def __init__(self, rig: Rig) -> None:
        self.tenant, self.operator = rig.client_of(_TENANT), rig.client_of(OPERATOR)
        parent = self.create(self.tenant, flow_run("parent"))
        reference = names.reference("parent", parent["metadata"]["uid"])
        self.owner: Body = {**reference, "controller": True, "blockOwnerDeletion": True}

    def create(self, client: Client, body: Body) -> Body:
        return client.create(FLOW_RUN.path(_NAMESPACE), body)

    def patch(self, client: Client, name: str, patch: Body) -> Body | None:
        return client.patch(FLOW_RUN.path(_NAMESPACE, name), patch)


def refusal(act: Callable[[], object]) -> str:
    """Return the message with which the API server refuses a request, or an empty text if it accepts it."""
    try:
        act()
    except ApiError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def namespace(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _TENANT}
    binding = {"metadata": {"name": _TENANT}, "roleRef": role, "subjects": [subject]}
    rig.client.create(CLUSTER_ROLE_BINDING.path(), binding)
    found = Namespace(rig)
    policies = rendered(tmp_path_factory.mktemp("chart"))
    for body in policies:
        rig.client.create(kind_of(body).path(), body)

    def is_enforced() -> bool:
        query = f"{FLOW_RUN.path(_NAMESPACE)}?dryRun=All"
        return bool(refusal(lambda: found.tenant.create(query, flow_run("probe", found.owner))))

    wait_until(is_enforced, "the policy is enforced", 60)
    yield found
    for body in policies:  # operators of other tests are not the one of the release
        rig.client.delete(kind_of(body).path(name=body["metadata"]["name"]))


@pytest.mark.parametrize("is_controller", [True, False])
def test_user_cannot_create_a_child_run(namespace: Namespace, is_controller: bool) -> None:
    owner = {**namespace.owner, "controller": is_controller}
    message = refusal(lambda: namespace.create(namespace.tenant, flow_run("forged", owner)))

    assert "flowcluster-child-runs" in message
    assert "only the operator makes a FlowRun the child of another one" in message


def test_user_cannot_make_a_run_the_child_of_another_one(namespace: Namespace) -> None:
    namespace.create(namespace.tenant, flow_run("grown"))
    change = {"metadata": {"ownerReferences": [namespace.owner]}}

    assert "only the operator" in refusal(lambda: namespace.patch(namespace.tenant, "grown", change))


def test_user_can_own_a_run_by_another_kind(namespace: Namespace) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": namespace.owner["uid"]}

    assert refusal(lambda: namespace.create(namespace.tenant, flow_run("owned", owner))) == ""


def test_operator_creates_child_runs_which_users_can_edit(namespace: Namespace) -> None:
    """An edit can keep the reference, or remove it, as the garbage collector does after an orphaning deletion."""
    namespace.create(namespace.operator, flow_run("child", namespace.owner))
    namespace.patch(namespace.tenant, "child", {"spec": {"cancel": True}})
    left = namespace.patch(namespace.tenant, "child", {"metadata": {"ownerReferences": None}})

    assert left is not None
    assert (left["spec"]["cancel"], "ownerReferences" in left["metadata"]) == (True, False)


def test_user_cannot_become_the_controller_of_a_child_run(namespace: Namespace) -> None:
    weak = {**namespace.owner, "controller": False}
    namespace.create(namespace.operator, flow_run("weak", weak))
    change = {"metadata": {"ownerReferences": [namespace.owner]}}

    assert "only the operator" in refusal(lambda: namespace.patch(namespace.tenant, "weak", change))

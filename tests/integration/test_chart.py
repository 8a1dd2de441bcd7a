"""The chart, rendered by helm itself: what it refuses, and what it grants."""

from __future__ import annotations

import pathlib
import subprocess
from typing import Any

import pytest

from flowcluster_operator.run_defaults import run_defaults
from flowcluster_operator.settings import Settings
from flowcluster_operator.template_rules import TemplatePolicy
from tests.support.manifests import documents_in
from tools.chart import package
from tools.cluster import api


@pytest.fixture(scope="module")
def helm() -> pathlib.Path:
    """The helm with which the project installs."""
    return api.tool("helm")


@pytest.fixture(scope="module")
def archive(helm: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The packaged chart."""
    return package(str(helm), tmp_path_factory.mktemp("chart"))


def render(
    helm: pathlib.Path, archive: pathlib.Path, *values: str, kubernetes: str = "1.34.0"
) -> subprocess.CompletedProcess[str]:
    command = [str(helm), "template", "flowcluster", str(archive), "--namespace", "system", "--include-crds"]
    command += ["--kube-version", kubernetes]
    for value in values:
        command += ["--set", value]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def documents(
    helm: pathlib.Path, archive: pathlib.Path, *values: str, kubernetes: str = "1.34.0"
) -> list[dict[str, Any]]:
    done = render(helm, archive, *values, kubernetes=kubernetes)
    assert done.returncode == 0, done.stderr
    return documents_in(done.stdout)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("maxWorkers=0", "maxWorkers"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("crds.enabled=perhaps", "crds"),
        ("typo=1", "typo"),
        ("runs.typo=1", "typo"),
        ("runs.resources.autoscale.limits.cpu=1", "autoscale"),
        ("runs.labels=x", "labels"),
        ("templates.typo=true", "templates"),
        ("operatorClass=Blue", "operatorClass"),
        ("templates.privileged=perhaps", "privileged"),
        ("childRuns.maximum=0", "childRuns"),
    ],
)
def test_wrong_value_is_refused_by_name(helm: pathlib.Path, archive: pathlib.Path, value: str, field: str) -> None:
    """Helm refuses and names a value that the chart does not have or cannot use."""
    done = render(helm, archive, value)

    assert done.returncode != 0
    assert field in done.stderr


def test_operator_gets_the_defaults_of_runs_as_they_are_given(helm: pathlib.Path, archive: pathlib.Path) -> None:
    """The kubelet expands a variable's value: `$$` is `$`."""
    values = ("runs.labels.team=a$(HOME)<b", "runs.imagePullSecrets[0]=login")
    found = documents(helm, archive, "dask-kubernetes-operator.enabled=false", *values)
    (deployment,) = (item for item in found if item["kind"] == "Deployment")
    variables = {item["name"]: item["value"] for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    defaults = run_defaults(variables["FLOWCLUSTER_RUN_DEFAULTS"].replace("$$", "$"))

    assert (defaults.labels, defaults.imagePullSecrets) == ({"team": "a$(HOME)<b"}, ["login"])


def test_operator_is_granted_no_wildcard_and_no_secret(helm: pathlib.Path, archive: pathlib.Path) -> None:
    """Its roles name groups, kinds and verbs, read no Secret, run nothing in pods, and grant only their own rights."""
    roles = [item for item in documents(helm, archive, "dask-kubernetes-operator.enabled=false") if "rules" in item]
    assert roles
    for rule in (rule for role in roles for rule in role["rules"]):
        for field in ("apiGroups", "resources", "verbs"):
            assert "*" not in rule[field]
        assert not {"pods/exec", "clusterroles", "clusterrolebindings"} & set(rule["resources"])
        if "secrets" in rule["resources"]:  # it creates the keys of runs, and cannot read them
            assert (rule["resources"], rule["verbs"]) == (["secrets"], ["create"])
        # With these it could grant rights that it does not have.
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"])


def test_operator_has_no_cluster_wide_rights_when_it_watches_one_namespace(
    helm: pathlib.Path, archive: pathlib.Path
) -> None:
    """With `watchNamespace`, the operator's rights are limited to that namespace."""
    values = ("dask-kubernetes-operator.enabled=false", "watchNamespace=team", "rbac.aggregate=false")
    found = documents(helm, archive, *values)
    (role,) = (item for item in found if item["kind"] == "Role")

    assert role["metadata"]["namespace"] == "team"
    assert [item for item in found if item["kind"] in ("ClusterRole", "ClusterRoleBinding")] == []


def test_editors_of_a_namespace_get_no_right_to_its_leases(helm: pathlib.Path, archive: pathlib.Path) -> None:
    """Leases of leader elections are in the same namespaces. The operator grants each user their run's Lease."""
    found = documents(helm, archive, "dask-kubernetes-operator.enabled=false")
    (edit,) = (item for item in found if item["metadata"]["name"] == "flowcluster-edit")

    assert [rule["resources"] for rule in edit["rules"]] == [["flowruns"]]


def test_only_administrators_of_a_namespace_can_change_its_shared_clusters(
    helm: pathlib.Path, archive: pathlib.Path
) -> None:
    found = documents(helm, archive, "dask-kubernetes-operator.enabled=false")
    roles = {item["metadata"]["name"]: item for item in found if item["kind"] == "ClusterRole"}
    rights = {
        name: {verb for rule in role["rules"] if "sharedclusters" in rule["resources"] for verb in rule["verbs"]}
        for name, role in roles.items()
    }

    assert rights["flowcluster-edit"] == set()
    assert rights["flowcluster-view"] == {"get", "list", "watch"}
    assert rights["flowcluster-admin"] == {"create", "update", "patch", "delete"}
    labels = roles["flowcluster-admin"]["metadata"]["labels"]
    assert [name for name in labels if "aggregate-to" in name] == ["rbac.authorization.k8s.io/aggregate-to-admin"]


def policies(documents: list[dict[str, Any]], name: str = "templates") -> dict[str, dict[str, Any]]:
    found = [item for item in documents if item["kind"].startswith("ValidatingAdmission")]
    return {item["kind"]: item["spec"] for item in found if item["metadata"]["name"] == f"flowcluster-{name}"}


def test_policy_for_templates_has_the_values_of_the_chart(helm: pathlib.Path, archive: pathlib.Path) -> None:
    values = ("templates.serviceAccounts={reporter,etl}", "templates.hostPorts=true", "watchNamespace=team")
    found = policies(documents(helm, archive, *values))
    settings = {item["name"]: item["expression"] for item in found["ValidatingAdmissionPolicy"]["variables"]}

    assert settings["serviceAccounts"] == '["reporter","etl"]'
    assert (settings["hostPorts"], settings["privileged"]) == ("true", "false")
    selector = found["ValidatingAdmissionPolicyBinding"]["matchResources"]["namespaceSelector"]
    assert selector["matchLabels"] == {"kubernetes.io/metadata.name": "team"}


@pytest.mark.parametrize("operator_class", ["", "blue"])
def test_operator_and_its_policy_are_for_the_same_class(
    helm: pathlib.Path, archive: pathlib.Path, operator_class: str
) -> None:
    found = documents(helm, archive, f"operatorClass={operator_class}")
    conditions = [
        condition["expression"]
        for document in found
        if document["kind"] == "ValidatingAdmissionPolicy"
        for condition in document["spec"]["matchConditions"]
        if condition["name"] == "class"
    ]
    deployments = {item["metadata"]["name"]: item for item in found if item["kind"] == "Deployment"}
    (container,) = deployments["flowcluster"]["spec"]["template"]["spec"]["containers"]
    settings = Settings.from_environment({item["name"]: item["value"] for item in container["env"]})

    assert [condition.rpartition(" ")[2] for condition in conditions] == [f"'{operator_class}'"] * 3
    assert (settings.operator_class, settings.installation) == (operator_class, "system/flowcluster")


def test_operator_gets_the_same_values_as_the_policy(helm: pathlib.Path, archive: pathlib.Path) -> None:
    values = ("templates.capabilities={NET_BIND_SERVICE}", "networkPolicies=false")
    found = documents(helm, archive, *values, "dask-kubernetes-operator.enabled=false")
    (deployment,) = (item for item in found if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = Settings.from_environment({item["name"]: item["value"] for item in container["env"]})

    assert settings.template_policy == TemplatePolicy(capabilities=("NET_BIND_SERVICE",))
    assert not settings.network_policies


@pytest.mark.parametrize(
    ("name", "value"), [("templates", "templates"), ("shared-templates", "templates"), ("child-runs", "childRuns")]
)
def test_policy_is_an_option(helm: pathlib.Path, archive: pathlib.Path, name: str, value: str) -> None:
    assert policies(documents(helm, archive, f"{value}.admissionPolicy=false"), name) == {}
    assert policies(documents(helm, archive), name) != {}


@pytest.mark.parametrize("name", ["templates", "shared-templates", "child-runs"])
def test_kubernetes_without_admission_policies_gets_none(helm: pathlib.Path, archive: pathlib.Path, name: str) -> None:
    assert policies(documents(helm, archive, kubernetes="1.29.0"), name) == {}


@pytest.mark.parametrize(("enabled", "expected"), [("true", True), ("false", False)])
def test_stock_dask_operator_is_an_option(
    helm: pathlib.Path, archive: pathlib.Path, enabled: str, expected: bool
) -> None:
    """The chart installs dask-kubernetes and its CRDs, unless it is turned off."""
    found = documents(helm, archive, f"dask-kubernetes-operator.enabled={enabled}")
    names = {item["metadata"]["name"] for item in found if item["kind"] == "CustomResourceDefinition"}

    assert ("daskclusters.kubernetes.dask.org" in names) is expected
    assert {"flowruns.flowcluster.dev", "sharedclusters.flowcluster.dev"} <= set(names)


def test_crd_survives_an_uninstall(helm: pathlib.Path, archive: pathlib.Path) -> None:
    """An uninstall deletes no FlowRun, unless `crds.keep` is turned off."""

    def policy(*values: str) -> str | None:
        crd = next(d for d in documents(helm, archive, *values) if d["metadata"]["name"] == "flowruns.flowcluster.dev")
        kept: str | None = (crd["metadata"].get("annotations") or {}).get("helm.sh/resource-policy")
        return kept

    assert policy() == "keep"
    assert policy("crds.keep=false") is None

"""What children inherit from their FlowRun, from ServiceAccounts and from the administrator's defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.inherited import Inheritance, accounts, with_inherited
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import BY_KIND, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, Object
from flowcluster_operator.run_defaults import RunDefaults, run_defaults
from flowcluster_operator.settings import Settings, SettingsError
from flowcluster_operator.template_rules import RULES
from tests.support.built import BUILT, FULL_CLUSTER, FULL_FLOW
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, KEYS, LEASE_UID, cluster, job, lease, run
from tests.support.observing import Rig
from tests.support.plans import started

SPEC = FlowRunSpec.model_validate({"flow": FULL_FLOW, "cluster": {"kind": "Dask", **FULL_CLUSTER}})
RESOURCES = {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "3Gi"}}
DEFAULTS = RunDefaults(
    labels={"cost": "default", "team": "none", "site": "north"},
    annotations={"policy": "default"},
    imagePullSecrets=["everywhere"],
    nodeSelector={"disk": "any", "pool": "runs"},
    tolerations=[{"key": "runs", "operator": "Exists"}],
    priorityClassName="batch",
    resources=dict.fromkeys(["driver", "scheduler", "head", "worker", "relay", "autoscaler"], RESOURCES),
)
METADATA = {
    "labels": {"cost": "42", "owner": "ann"},
    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "hello"},
}
BODIES = {name: BUILT[name]() for name in BUILT}
WORKLOADS = [name for name in BUILT if name.startswith(("dask", "ray", "driver-job"))]


def child(name: str, metadata: Any = None, defaults: RunDefaults | None = None, **secrets: Any) -> list[Object]:
    """The objects of a golden file with what they inherit."""
    known = {**BY_KIND, "Secret": SECRET, "ConfigMap": CONFIG_MAP}
    source = Inheritance(metadata or {}, SPEC, defaults or RunDefaults(), secrets)
    return [with_inherited(Create(known[body["kind"]], body), source).body for body in BODIES[name]]


def pod_templates(value: Any) -> Iterator[Object]:
    """The pod templates in an object."""
    if isinstance(value, dict):
        if "metadata" in value and "containers" in (value.get("spec") or {}):
            yield value
        for item in value.values():
            yield from pod_templates(item)
    for item in value if isinstance(value, list) else ():
        yield from pod_templates(item)


@pytest.mark.parametrize("name", BUILT)
def test_objects_are_unchanged_where_there_is_nothing_to_inherit(name: str) -> None:
    assert [body["spec"] for body in child(name) if "spec" in body] == [
        body["spec"] for body in BODIES[name] if "spec" in body
    ]


@pytest.mark.parametrize("name", BUILT)
def test_labels_and_annotations_of_the_run_are_on_every_object_and_pod(name: str) -> None:
    for body in child(name, METADATA):
        for metadata in [body["metadata"], *(template["metadata"] for template in pod_templates(body))]:
            assert metadata["labels"].items() >= {"cost": "42", "owner": "ann"}.items() - {("cost", "42")}
            assert metadata["annotations"]["note"] == "hello"
            assert metadata["labels"][names.LABEL_RUN_UID] == KEY.uid
            assert "kubectl.kubernetes.io/last-applied-configuration" not in metadata["annotations"]


@pytest.mark.parametrize(
    "label",
    [
        names.LABEL_RUN_UID, names.LABEL_COMPONENT, names.LABEL_MANAGED_BY, "kueue.x-k8s.io/queue-name",
        "argocd.argoproj.io/instance", "app.kubernetes.io/instance", "helm.toolkit.fluxcd.io/name",
        "applyset.kubernetes.io/part-of", "ray.io/cluster", "dask.org/cluster-name", "batch.kubernetes.io/job-name",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", BUILT)
def test_labels_by_which_tools_know_their_objects_are_not_inherited(name: str, label: str) -> None:
    for body in child(name, {"labels": {label: "stranger"}}):
        assert "stranger" not in json.dumps(body)


@pytest.mark.parametrize("prefix", [rule.prefix for rule in RULES if rule.prefix])
@pytest.mark.parametrize("name", WORKLOADS)
def test_annotations_that_rules_for_templates_judge_are_not_inherited(name: str, prefix: str) -> None:
    """The metadata of a FlowRun would otherwise give a pod what its template must not contain."""
    for body in child(name, {"annotations": {f"{prefix}driver": "unconfined"}}):
        assert "unconfined" not in json.dumps(body)


@pytest.mark.parametrize("name", WORKLOADS)
def test_defaults_reach_every_pod(name: str) -> None:
    for body in child(name, METADATA, DEFAULTS):
        found = list(pod_templates(body))
        assert found
        for template in found:
            pod = template["spec"]
            assert template["metadata"]["labels"]["site"] == "north"
            assert pod["nodeSelector"]["pool"] == "runs"
            assert pod["tolerations"][-1] == {"key": "runs", "operator": "Exists"}
            assert pod["priorityClassName"] == "batch"
            assert {"name": "everywhere"} in pod["imagePullSecrets"]
            for container in pod["containers"]:
                if container["name"] != "sidecar":
                    assert {"cpu", "memory"} <= {
                        name for amounts in container["resources"].values() for name in amounts
                    }


def test_template_and_run_go_over_defaults() -> None:
    (job,) = child("driver-job-full", METADATA, DEFAULTS)
    template = job["spec"]["template"]
    (driver, _) = template["spec"]["containers"]

    assert template["metadata"]["labels"]["team"] == "data"
    assert job["metadata"]["labels"]["team"] == "data"
    assert template["metadata"]["annotations"]["policy"] == "default"
    assert template["spec"]["nodeSelector"] == {"disk": "ssd", "pool": "runs"}
    assert driver["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1.5Gi"}}


def test_pull_secrets_of_the_default_account_reach_pods_with_another_account() -> None:
    for name in WORKLOADS:
        for body in child(name, default=("login",)):
            for template in pod_templates(body):
                assert template["spec"]["imagePullSecrets"] == [{"name": "login"}]


def test_pull_secrets_of_the_account_that_a_template_names_are_its_own() -> None:
    flow = {"entrypoint": "a.py:b", "template": {"spec": {"serviceAccountName": "reporter"}}}
    spec = FlowRunSpec.model_validate({"flow": flow, "cluster": {"kind": "Dask"}})
    source = Inheritance({}, spec, RunDefaults(), {"default": ("login",), "reporter": ("own",)})
    create = with_inherited(Create(BY_KIND["Job"], BODIES["driver-job"][0]), source)

    assert accounts(spec) == ["default", "reporter"]
    assert create.body["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "own"}]


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("ray")])
def test_head_service_gets_the_labels_and_annotations_of_the_run(name: str) -> None:
    (built,) = child(name, METADATA)

    assert built["spec"]["headServiceAnnotations"] == {"note": "hello"}
    assert built["spec"]["headGroupSpec"]["headService"]["metadata"] == {"labels": METADATA["labels"]}


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("ray")])
@pytest.mark.parametrize("given", ["run", "defaults", "template"])
def test_head_has_no_label_that_the_service_of_kuberay_does_not_select(name: str, given: str) -> None:
    """Its Service would have no endpoint."""
    label = {"app.kubernetes.io/created-by": "ann"}
    (built,) = BUILT[name]()
    if given == "template":
        for group in (built["spec"]["headGroupSpec"], *built["spec"]["workerGroupSpecs"]):
            template = group["template"]
            group |= {"template": {**template, "metadata": {"labels": {**template["metadata"]["labels"], **label}}}}
    defaults = RunDefaults(labels=label if given == "defaults" else {})
    metadata = {"labels": label} if given == "run" else {}
    source = Inheritance(metadata, SPEC, defaults, {})
    spec = with_inherited(Create(BY_KIND["RayCluster"], built), source).body["spec"]
    found = [group["template"]["metadata"]["labels"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]

    assert [labels.get("app.kubernetes.io/created-by") for labels in found] == [None, "ann"]


@pytest.mark.parametrize("name", BUILT)
def test_containers_that_the_operator_adds_have_complete_limits(name: str) -> None:
    """A quota on limits asks for both of every container, and users give none for these."""

    def added(value: Any) -> Iterator[Object]:
        for field, item in value.items() if isinstance(value, dict) else ():
            if field == "autoscalerOptions" or (isinstance(item, dict) and item.get("name") == "relay"):
                yield item
            yield from added(item)
        for item in value if isinstance(value, list) else ():
            yield from ([item] if isinstance(item, dict) and item.get("name") == "relay" else [])
            yield from added(item)

    for container in added(BODIES[name]):
        for field in ("requests", "limits"):
            assert set(container["resources"][field]) == {"cpu", "memory"}


class TestAccounts:
    @pytest.fixture
    def rig(self, api: FakeApi, kube: Kube) -> Rig:
        return Rig(api, kube)

    async def test_pull_secrets_are_read_once_for_a_run_that_starts(self, rig: Rig) -> None:
        account = {"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "login"}]}
        rig.api.objects.create(SERVICE_ACCOUNT, KEY.namespace, account)
        rig.known(run(), lease())
        rig.memory.credentials[KEY] = (LEASE_UID, KEYS)
        found = [(await rig.observe()).pull_secrets for _ in range(3)]

        assert found == [{"default": ("login",)}] * 3
        assert len(rig.api.seen("GET", SERVICE_ACCOUNT)) == 1

    async def test_account_that_does_not_exist_has_no_pull_secrets(self, rig: Rig) -> None:
        rig.known(run(), lease())
        rig.memory.credentials[KEY] = (LEASE_UID, KEYS)

        assert (await rig.observe()).pull_secrets == {}
        assert rig.api.seen("GET", SERVICE_ACCOUNT)

    async def test_pull_secrets_are_not_read_when_nothing_is_to_be_created(self, rig: Rig) -> None:
        rig.known(run(status=started()), lease(), cluster(), job())
        rig.memory.credentials[KEY] = (LEASE_UID, KEYS)
        await rig.observe()

        assert rig.api.seen("GET", SERVICE_ACCOUNT) == []

    async def test_pull_secrets_are_known_when_the_job_is_created_after_the_cluster(self, rig: Rig) -> None:
        """A quota can hold up the Job when the cluster is recorded already."""
        account = {"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "login"}]}
        rig.api.objects.create(SERVICE_ACCOUNT, KEY.namespace, account)
        made = cluster()
        name = made["metadata"]["name"]
        rig.known(run(status=started(cluster={"kind": "Dask", "name": name})), lease(), made)

        assert (await rig.observe()).pull_secrets == {"default": ("login",)}

    async def test_pull_secrets_are_read_again_after_a_suspension(self, rig: Rig) -> None:
        rig.memory.pull_secrets[KEY] = {"default": ("earlier",)}
        rig.memory.credentials[KEY] = (LEASE_UID, KEYS)
        rig.known(run(status={"phase": "Suspended"}))
        await rig.observe()
        rig.known(run(status=started()), lease())

        assert (await rig.observe()).pull_secrets == {}


class TestSettings:
    def test_defaults_are_read_from_json(self) -> None:
        text = json.dumps({"labels": {"team": "data"}, "imagePullSecrets": ["login"]})
        settings = Settings.from_environment({"FLOWCLUSTER_RUN_DEFAULTS": text})
        found = run_defaults(settings.run_defaults)

        assert (found.labels, found.imagePullSecrets) == ({"team": "data"}, ["login"])

    @pytest.mark.parametrize("text", ["x", "[]", '{"typo": 1}', '{"labels": []}', '{"tolerations": {}}'])
    def test_defaults_that_cannot_be_used_are_refused_by_the_variable(self, text: str) -> None:
        with pytest.raises(SettingsError, match="FLOWCLUSTER_RUN_DEFAULTS"):
            Settings.from_environment({"FLOWCLUSTER_RUN_DEFAULTS": text})

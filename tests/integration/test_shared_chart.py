"""The chart of a SharedCluster, rendered by helm: the objects, the refused values, and the notes."""

from __future__ import annotations

import inspect
import json
import pathlib
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from flowcluster_api import names
from flowcluster_api.v1alpha1 import SharedClusterSpec
from tools.chart import SHARED_CHART, package_shared
from tools.cluster import api

FULL = SHARED_CHART.parent.parent / "tests" / "integration" / "shared-values.yaml"
#: Kinds that a Kubernetes with all operators knows.
KNOWN = ("flowcluster.dev/v1alpha1/SharedCluster", "kubernetes.dask.org/v1/DaskCluster", "ray.io/v1/RayCluster")


@pytest.fixture(scope="module")
def helm() -> str:
    """The helm with which the project installs."""
    return str(api.tool("helm"))


@pytest.fixture(scope="module")
def archive(helm: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The packaged chart, which passes `helm lint --strict`."""
    return package_shared(helm, tmp_path_factory.mktemp("chart"))


def template(helm: str, chart: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "analytics", str(chart), "--namespace", "data", "--kube-version", "1.34.0", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(helm: str, chart: pathlib.Path, *options: str) -> list[dict[str, Any]]:
    done = template(helm, chart, *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def shared_cluster(helm: str, chart: pathlib.Path, *options: str) -> dict[str, Any]:
    (found,) = [item for item in rendered(helm, chart, *options) if item["kind"] == names.SHARED_KIND]
    assert SharedClusterSpec.model_validate(found["spec"])
    return found


def test_default_values_make_a_dask_cluster_named_after_the_release(helm: str, archive: pathlib.Path) -> None:
    found = shared_cluster(helm, archive)

    assert (found["apiVersion"], found["metadata"]["name"]) == (names.API_VERSION, "analytics")
    assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "analytics"
    assert found["spec"] == {
        "kind": "Dask",
        "workers": {"minimum": 0, "maximum": 10, "threads": 1},
        "suspend": False,
        "upgrade": "WhenIdle",
    }


def test_values_are_the_spec_when_all_are_given(helm: str, archive: pathlib.Path) -> None:
    values = yaml.safe_load(FULL.read_text())
    own = {name: values.pop(name) for name in ("name", "labels", "annotations", "test")}
    found = shared_cluster(helm, archive, "--values", str(FULL))

    assert found["spec"] == values
    assert set(values) == {*SharedClusterSpec.model_json_schema(by_alias=True)["properties"]}
    assert found["metadata"]["name"] == own["name"]
    assert own["labels"].items() <= found["metadata"]["labels"].items()
    assert found["metadata"]["annotations"] == own["annotations"]


@pytest.mark.parametrize(
    "option",
    ["image=null", "workers=null", "workers.maximum=null", "scheduler=null", "idleShutdownSeconds=null", "labels=null"],
)
def test_null_leaves_a_field_out(option: str, helm: str, archive: pathlib.Path) -> None:
    assert "null" not in json.dumps(shared_cluster(helm, archive, "--set", option))


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("kind=Spark", "kind"),
        ("kind=null", "kind"),
        ("typo=1", "typo"),
        ("workers.maxmum=3", "maxmum"),
        ("workers.maximum=many", "maximum"),
        ("workers.maximum=-1", "maximum"),
        ("workers.resources.limit.cpu=1", "limit"),
        ("workers.resources.limits.cpu=one", "cpu"),
        ("workerGroups[0].maximum=3", "name"),
        ("workerGroups[0].name=GPU", "name"),
        ("scheduler.threads=2", "threads"),
        ("upgrade=Later", "upgrade"),
        ("idleShutdownSeconds=1", "idleShutdownSeconds"),
        ("allowedNamespaces={a,a}", "allowedNamespaces"),
        ("allowedNamespaces={Team}", "allowedNamespaces"),
        ("operatorClass=Blue", "operatorClass"),
        ("image=a b", "image"),
        ("name=My_cluster", "name"),
        ("test.timeoutSeconds=0", "timeoutSeconds"),
    ],
)
def test_wrong_value_is_refused_by_its_name(option: str, field: str, helm: str, archive: pathlib.Path) -> None:
    done = template(helm, archive, "--set", option)

    assert done.returncode != 0
    assert field in done.stderr


@pytest.mark.parametrize(("kind", "word"), [("Dask", "client.submit"), ("Ray", "ray.init")])
def test_helm_test_runs_a_task_by_rights_that_end_with_it(
    kind: str, word: str, helm: str, archive: pathlib.Path
) -> None:
    found = rendered(helm, archive, "--set", f"kind={kind},operatorClass=blue")
    hooks = {item["kind"]: item for item in found if "annotations" in item["metadata"]}
    policies = {name: hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for name, hook in hooks.items()}
    rights = {item["kind"]: item for item in hooks["List"]["items"]}
    (container,) = hooks["Pod"]["spec"]["containers"]
    labels = hooks["Pod"]["metadata"]["labels"]

    assert {item["metadata"]["annotations"]["helm.sh/hook"] for item in hooks.values()} == {"test"}
    # `helm test --logs` reads the log of a pod with the name of each hook.
    assert policies == {"List": "before-hook-creation,hook-succeeded,hook-failed", "Pod": "before-hook-creation"}
    assert set(rights) == {"ServiceAccount", "Role", "RoleBinding"}
    assert {item["metadata"]["name"] for item in [*hooks.values(), *rights.values()]} == {"analytics-test"}
    assert (labels[names.LABEL_SHARED], labels[names.LABEL_COMPONENT]) == ("analytics", names.COMPONENT_TEST)
    compile(container["command"][2], "test", "exec")
    assert word in container["command"][2]
    assert "ttl_seconds_after_finished=0" in container["command"][2]  # no record stays after the release
    assert container["env"] == [{"name": "FLOWCLUSTER_OPERATOR_CLASS", "value": "blue"}]
    assert {verb for rule in rights["Role"]["rules"] for verb in rule["verbs"]} == {"create", "get", "patch"}


class HereCluster:
    """A substitute for the classes of shared clusters and for a Dask client, which executes work in this process."""

    address = None

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> HereCluster:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], *values: Any) -> Any:
        return types.SimpleNamespace(result=lambda: function(*values))


def remote_here(function: Any) -> Any:
    """A substitute for ``ray.remote``, which accepts Python functions and classes, but no builtin ones."""
    assert inspect.isfunction(function)
    return types.SimpleNamespace(remote=function)


@pytest.mark.parametrize("kind", ["Dask", "Ray"])
def test_program_of_helm_test_runs(
    kind: str,
    helm: str,
    archive: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (pod,) = [item for item in rendered(helm, archive, "--set", f"kind={kind}") if item["kind"] == "Pod"]
    ray = types.SimpleNamespace(init=lambda address: None, get=lambda value: value, remote=remote_here)
    modules = {
        "ray": ray,
        "distributed": types.SimpleNamespace(Client=HereCluster),
        "flowcluster.clusters": types.SimpleNamespace(
            SharedKubernetesCluster=HereCluster, SharedRayKubernetesCluster=HereCluster
        ),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    exec(pod["spec"]["containers"][0]["command"][2], {})

    assert capsys.readouterr().out == "a task ran on SharedCluster analytics\n"


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ((), "docker.io/flowcluster/runtime:"),
        (("--set-string", "runtimeImage.tag=7"), "docker.io/flowcluster/runtime:7"),
        (("--set", "image=registry/mine:1"), "registry/mine:1"),
    ],
)
def test_helm_test_has_the_image_of_the_cluster(
    options: tuple[str, ...], image: str, helm: str, archive: pathlib.Path
) -> None:
    (pod,) = [item for item in rendered(helm, archive, *options) if item["kind"] == "Pod"]

    assert pod["spec"]["containers"][0]["image"].startswith(image)


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The chart with its NOTES in a document: `helm template` does not print them."""
    chart = tmp_path_factory.mktemp("notes") / SHARED_CHART.name
    shutil.copytree(SHARED_CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    shown = 'kind: Notes\nnotes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n'
    (chart / "templates" / "notes.yaml").write_text(shown)
    return chart


def notes(helm: str, chart: pathlib.Path, *options: str) -> str:
    (found,) = [item for item in rendered(helm, chart, *options) if item["kind"] == "Notes"]
    return str(found["notes"])


@pytest.mark.parametrize("kind", ["Dask", "Ray"])
def test_notes_have_each_way_to_the_cluster(kind: str, helm: str, noted: pathlib.Path) -> None:
    options = ["--set", f"kind={kind},allowedNamespaces={{team}}"]
    for known in KNOWN:
        options += ["--api-versions", known]
    text = notes(helm, noted, *options)

    assert "WARNING" not in text
    for words in (
        "kubectl -n data get sharedcluster analytics",
        "helm test analytics -n data",
        "flowcluster submit FILE.py:FLOW -n data --cluster analytics",
        "ref: {name: analytics}",
        "ref: {name: analytics, namespace: data}",
        'KubernetesCluster("analytics", namespace="data")',
        "flowcluster.dev/shared-cluster=analytics",
    ):
        assert words in text


@pytest.mark.parametrize("kind", ["Dask", "Ray"])
@pytest.mark.parametrize("missing", KNOWN)
def test_notes_warn_when_a_kind_is_missing_that_the_cluster_needs(
    kind: str, missing: str, helm: str, noted: pathlib.Path
) -> None:
    options = ["--set", f"kind={kind}"]
    for known in KNOWN:
        options += ["--api-versions", known] if known != missing else []
    needed = {"Dask": "DaskCluster", "Ray": "RayCluster"}[kind]
    is_needed = missing.rpartition("/")[2] in (names.SHARED_KIND, needed)
    text = notes(helm, noted, *options)

    assert text.count("WARNING") == is_needed
    assert (f"does not know {missing.rpartition('/')[2]}" in text) is is_needed

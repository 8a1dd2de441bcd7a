from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

import flowcluster_api
from flowcluster_operator.settings import Settings
from tools import versions
from tools.generate import ROOT

CHART = ROOT / "charts" / "flowcluster"


def chart(file: str) -> Any:
    return yaml.safe_load((CHART / file).read_text())


def dependency(name: str) -> str:
    return next(str(item["version"]) for item in chart("Chart.yaml")["dependencies"] if item["name"] == name)


def test_chart_has_the_version_of_the_project() -> None:
    about = chart("Chart.yaml")

    assert (about["version"], about["appVersion"]) == (flowcluster_api.__version__, flowcluster_api.__version__)


def test_package_metadata_takes_the_version_from_the_code() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["hatch"]["version"] == {"path": "sdk/flowcluster_api/__init__.py"}


@pytest.mark.parametrize("image", ["image", "runtimeImage"])
def test_images_of_the_chart_take_their_tag_from_its_app_version(image: str) -> None:
    assert chart("values.yaml")[image]["tag"] == ""


def test_default_image_of_the_operator_has_the_version_of_the_project() -> None:
    assert Settings().default_image == f"{chart('values.yaml')['runtimeImage']['repository']}:{versions.release()}"


def test_dask_kubernetes_has_one_version_in_chart_image_and_lock_file() -> None:
    (locked,) = re.findall(r"^dask-kubernetes==(\S+)", (ROOT / "requirements" / "dev.lock").read_text(), re.MULTILINE)

    assert dependency("dask-kubernetes-operator") == locked
    assert chart("values.yaml")["dask-kubernetes-operator"]["image"]["tag"] == locked


def test_kuberay_has_one_version_in_chart_and_go_module() -> None:
    module = (ROOT / "tools" / "cluster" / "go" / "kuberay" / "go.mod").read_text()

    assert f"github.com/ray-project/kuberay/ray-operator v{dependency('kuberay-operator')}\n" in module


def test_version_is_written_into_both_fields_of_a_chart() -> None:
    text = 'name: x\nversion: 0.1.0\nappVersion: "0.1.0"\ndependencies:\n  - name: y\n    version: 0.1.0\n'

    changed = yaml.safe_load(versions.in_chart(text, "0.2.0"))

    assert (changed["version"], changed["appVersion"]) == ("0.2.0", "0.2.0")
    assert changed["dependencies"] == [{"name": "y", "version": "0.1.0"}]


@pytest.mark.parametrize("text", ["version: 0.1.0\n", "version: 0.1.0\nversion: 0.1.0\nappVersion: 0.1.0\n"])
def test_chart_without_exactly_two_version_fields_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version and appVersion once each"):
        versions.in_chart(text, "0.2.0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("helm install dist/flowcluster-0.1.0.tgz", "helm install dist/flowcluster-0.2.0.tgz"),
        ("docker.io/flowcluster/operator:0.1.0", "docker.io/flowcluster/operator:0.2.0"),
        ("docker.io/flowcluster/runtime:0.1.0", "docker.io/flowcluster/runtime:0.2.0"),
        ("KubeRay 1.6.2 and dask-operator:0.1.0", "KubeRay 1.6.2 and dask-operator:0.1.0"),
    ],
)
def test_version_is_written_where_a_document_names_the_release(text: str, expected: str) -> None:
    assert versions.in_document(text, "0.2.0") == expected


@pytest.mark.parametrize("version", ["0.1", "0.1.0rc1", "v0.1.0"])
def test_version_other_than_three_numbers_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(versions, "__version__", version)

    with pytest.raises(ValueError, match=re.escape(repr(version))):
        versions.release()

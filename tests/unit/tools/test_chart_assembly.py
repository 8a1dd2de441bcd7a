from __future__ import annotations

import pathlib
import shutil
from typing import Any

import pytest
import yaml

from tools import chart
from tools.chart_lock import lock_text

#: A program that fails as helm does where no repository can be reached.
NO_HELM = "false"


@pytest.fixture
def checkout(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A copy of the chart's folder, which stands for the one in the repository."""
    copy = tmp_path / "checkout" / "flowcluster"
    shutil.copytree(chart.CHART, copy, ignore=shutil.ignore_patterns("charts"))
    monkeypatch.setattr(chart, "CHART", copy)
    return copy


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "assembled"
    folder.mkdir()
    return folder


def load(path: pathlib.Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.usefixtures("checkout")
def test_assembled_chart_has_the_dask_operator_in_the_version_that_it_requires(target: pathlib.Path) -> None:
    made = chart.assemble(NO_HELM, target)

    (required,) = load(made / "Chart.yaml")["dependencies"]
    assert load(made / "charts" / "dask-kubernetes-operator" / "Chart.yaml")["version"] == required["version"]


@pytest.mark.usefixtures("checkout")
def test_assembled_chart_requires_no_kuberay_when_its_repository_cannot_be_reached(target: pathlib.Path) -> None:
    made = chart.assemble(NO_HELM, target)

    assert [item["name"] for item in load(made / "Chart.yaml")["dependencies"]] == ["dask-kubernetes-operator"]


@pytest.mark.usefixtures("checkout")
def test_assembled_chart_requires_no_kuberay_and_fetches_none_when_it_is_not_wanted(
    target: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = chart.assemble(NO_HELM, target, has_kuberay=False)

    text = (made / "Chart.yaml").read_text()
    assert [item["name"] for item in yaml.safe_load(text)["dependencies"]] == ["dask-kubernetes-operator"]
    assert lock_text(text, (made / "Chart.lock").read_text()) == (made / "Chart.lock").read_text()
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("checkout")
def test_lock_of_the_assembled_chart_matches_its_dependencies(target: pathlib.Path) -> None:
    made = chart.assemble(NO_HELM, target)

    lock = (made / "Chart.lock").read_text()
    assert lock_text((made / "Chart.yaml").read_text(), lock) == lock


def test_archives_of_helm_dependency_build_are_not_assembled_a_second_time(
    checkout: pathlib.Path, target: pathlib.Path
) -> None:
    (checkout / "charts").mkdir()
    (checkout / "charts" / "dask-kubernetes-operator-2026.3.0.tgz").touch()

    made = chart.assemble(NO_HELM, target)

    assert [path.name for path in (made / "charts").iterdir()] == ["dask-kubernetes-operator"]


@pytest.mark.usefixtures("checkout")
def test_assembled_chart_names_the_images_of_another_registry_when_given_one(target: pathlib.Path) -> None:
    made = chart.assemble(NO_HELM, target, images="registry.example.com/team")

    values = load(made / "values.yaml")
    assert values["image"]["repository"] == "registry.example.com/team/operator"
    assert values["runtimeImage"]["repository"] == "registry.example.com/team/runtime"

"""The values that `make images` writes, in the chart as helm renders it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.chart import package
from tools.cluster import api
from tools.cluster.images.spec import INSTALLED
from tools.cluster.shell import run
from tools.images import values_text

REGISTRY = "registry.example.com/team"


@pytest.mark.timeout(600)
def test_installation_uses_the_images_of_the_registry_and_no_others(tmp_path: Path) -> None:
    """KubeRay's chart is not part of it: its repository cannot be reached everywhere."""
    references = {name: f"{REGISTRY}/{name}:12e456789012" for name in INSTALLED}
    (tmp_path / "images.yaml").write_text(values_text(references, "registry-login"))
    helm = str(api.tool("helm"))
    chart = package(helm, tmp_path, has_kuberay=False)

    rendered = run([helm, "template", "flowcluster", chart, "--values", tmp_path / "images.yaml"])

    images = re.findall(r"^\s*image: \"?([^\"\n]+)", rendered, re.MULTILINE)
    assert sorted(images) == sorted(references[name] for name in ("operator", "dask-operator"))
    assert f'value: "{references["runtime"]}"' in rendered
    assert len(re.findall(r"imagePullSecrets:\s+- name: registry-login", rendered)) == 2

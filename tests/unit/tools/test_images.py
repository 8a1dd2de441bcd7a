"""How images get from a build to a cluster, with a program in place of Docker that records how it is called."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fake_programs import FakeDocker, install_go, on_path
from tools.chart import CHART, DASK_CHART
from tools.cluster import cache
from tools.cluster.errors import ToolError
from tools.cluster.images import layout, pip_settings
from tools.cluster.images.push import name_in, save
from tools.cluster.images.spec import INSTALLED
from tools.cluster.providers.base import Image
from tools.cluster.providers.existing import ENV_REGISTRY, Existing
from tools.images import publish, values, values_text

#: They start programs that stand for Docker, pip and Go.
pytestmark = pytest.mark.processes

REGISTRY = "registry.example.com/team"
REFERENCES = {name: f"{REGISTRY}/{name}:0123456789ab" for name in INSTALLED}
#: What KubeRay's chart reads; it is fetched when the chart is packaged.
KUBERAY_VALUES = {"image": {"repository": "", "tag": ""}, "imagePullSecrets": []}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """A Docker engine, and an empty cache."""
    folder = tmp_path / "programs"
    folder.mkdir()
    install_go(folder, "linux/amd64")
    monkeypatch.setattr(pip_settings, "_listed", lambda: "")
    monkeypatch.setenv(cache.ENV_CACHE, str(tmp_path / "cache"))
    with on_path(folder, monkeypatch):
        yield FakeDocker(folder)


def places(document: Any, keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of a document by their keys; a list is a value."""
    if not isinstance(document, dict):
        return {keys: document}
    return {place: value for key, inner in document.items() for place, value in places(inner, (*keys, key)).items()}


def test_each_image_is_pushed_and_listed(docker: FakeDocker, tmp_path: Path) -> None:
    names = publish(tmp_path / "dist", REGISTRY)

    assert [name.partition(":")[0] for name in names] == [f"{REGISTRY}/{name}" for name in INSTALLED]
    assert (tmp_path / "dist" / "images.txt").read_text().splitlines() == names
    assert [call for call in docker.calls if call.startswith("push")] == [f"push --quiet {name}" for name in names]


def test_values_name_the_images_that_are_listed(docker: FakeDocker, tmp_path: Path) -> None:
    publish(tmp_path / "dist", REGISTRY)

    found = yaml.safe_load((tmp_path / "dist" / "images.yaml").read_text())
    assert [
        f"{found['image']['repository']}:{found['image']['tag']}",
        f"{found['runtimeImage']['repository']}:{found['runtimeImage']['tag']}",
        f"{found[DASK_CHART]['image']['name']}:{found[DASK_CHART]['image']['tag']}",
        f"{found['kuberay-operator']['image']['repository']}:{found['kuberay-operator']['image']['tag']}",
    ] == (tmp_path / "dist" / "images.txt").read_text().splitlines()


def test_images_are_written_to_an_archive_by_their_names_in_the_registry(docker: FakeDocker, tmp_path: Path) -> None:
    names = publish(tmp_path / "dist", REGISTRY, tmp_path / "dist" / "images.tar")

    assert f"save --output {tmp_path}/dist/images.tar {' '.join(names)}" in docker.calls
    assert [call for call in docker.calls if call.startswith("push")] == []


def test_images_keep_their_names_without_a_registry(docker: FakeDocker, tmp_path: Path) -> None:
    names = publish(tmp_path)

    assert [name.partition(":")[0] for name in names] == [f"docker.io/flowcluster/{name}" for name in INSTALLED]
    assert [call for call in docker.calls if call.startswith(("push", "tag"))] == []


def test_no_image_is_built_when_the_registry_is_invalid(docker: FakeDocker, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="HOST/PATH"):
        publish(tmp_path, "https://registry.example.com/team")

    assert docker.calls == []


def test_values_exist_in_the_charts() -> None:
    charts = yaml.safe_load((CHART / "values.yaml").read_text())
    dask = importlib.metadata.distribution("dask-kubernetes").locate_file(
        f"dask_kubernetes/operator/deployment/helm/{DASK_CHART}/values.yaml"
    )
    charts[DASK_CHART] = yaml.safe_load(Path(str(dask)).read_text())
    charts["kuberay-operator"] = KUBERAY_VALUES

    assert set(places(values(REFERENCES, "registry-login"))) - set(places(charts)) == set()


def test_pull_secret_is_in_each_place_where_the_charts_have_some() -> None:
    secrets = {keys: value for keys, value in places(values(REFERENCES, "login")).items() if "Secrets" in keys[-1]}

    assert secrets == {
        ("imagePullSecrets",): [{"name": "login"}],
        (DASK_CHART, "imagePullSecrets"): [{"name": "login"}],
        ("kuberay-operator", "imagePullSecrets"): [{"name": "login"}],
        ("runs", "imagePullSecrets"): ["login"],
    }


@pytest.mark.parametrize("tag", ["012345678901", "12e456789012", "0e1234567890", "abcdefabcdef", "1_2"])
def test_tag_stays_text_when_it_could_be_a_number(tag: str) -> None:
    """YAML's releases differ in which of these are numbers."""
    text = values_text({"operator": f"{REGISTRY}/operator:{tag}"})

    assert yaml.safe_load(text) == {"image": {"repository": f"{REGISTRY}/operator", "tag": tag}}
    assert f'tag: "{tag}"' in text or tag.isalpha()


@pytest.mark.parametrize(
    ("registry", "ref", "name"),
    [
        (REGISTRY, "docker.io/flowcluster/operator:1", f"{REGISTRY}/operator:1"),
        (f"{REGISTRY}/", "docker.io/library/busybox:1", f"{REGISTRY}/library/busybox:1"),
        ("localhost:5000", "docker.io/flowcluster/runtime:1", "localhost:5000/runtime:1"),
        ("localhost/a/b", "docker.io/flowcluster/runtime:1", "localhost/a/b/runtime:1"),
    ],
)
def test_name_of_an_image_in_a_registry(registry: str, ref: str, name: str) -> None:
    assert name_in(registry, ref) == name


@pytest.mark.parametrize("registry", ["", "team", "team/images", "https://registry.example.com", "/team"])
def test_registry_without_a_host_is_refused(registry: str) -> None:
    with pytest.raises(ToolError, match="HOST/PATH"):
        name_in(registry, "docker.io/flowcluster/operator:1")


def test_image_of_an_existing_cluster_is_pushed_to_its_registry(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_REGISTRY, REGISTRY)

    name = Existing(None).load(Image("docker.io/flowcluster/operator:1"))

    assert name == f"{REGISTRY}/operator:1"
    assert docker.calls == [f"tag docker.io/flowcluster/operator:1 {name}", f"push --quiet {name}"]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder in OCI layout with two images, `one` and `two`, that share a layer."""
    folder = tmp_path / "oci"
    (folder / "blobs" / "sha256").mkdir(parents=True)

    def blob(content: bytes) -> dict[str, str]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}"}

    manifests = []
    for name in ("one", "two"):
        layers = [blob(b"shared"), blob(f"layer of {name}".encode())]
        manifest = json.dumps({"config": blob(f"config of {name}".encode()), "layers": layers})
        manifests.append({**blob(manifest.encode()), "annotations": {layout.REF: name}})
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}))
    return folder


def test_archive_has_each_image_by_its_new_name_and_each_layer_once(built: Path, tmp_path: Path) -> None:
    archive = tmp_path / "new" / "images.tar"

    save([Image("one", built), Image("two", built)], [f"{REGISTRY}/one:1", f"{REGISTRY}/two:1"], archive)

    with tarfile.open(archive) as tar:
        blobs = [name for name in tar.getnames() if name.startswith("blobs/")]
    assert layout.references(archive) == [f"{REGISTRY}/one:1", f"{REGISTRY}/two:1"]
    assert sorted(blobs) == sorted(str(path.relative_to(built)) for path in built.glob("blobs/*/*"))


def test_archive_has_the_list_that_docker_reads(built: Path, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"

    save([Image("one", built), Image("two", built)], ["one:1", "two:1"], archive)

    with tarfile.open(archive) as tar:
        reader = tar.extractfile("manifest.json")
        assert reader is not None
        listed = json.load(reader)
        contents = [[tar.extractfile(layer).read() for layer in item["Layers"]] for item in listed]  # type: ignore[union-attr]
    assert [item["RepoTags"] for item in listed] == [["one:1"], ["two:1"]]
    assert contents == [[b"shared", b"layer of one"], [b"shared", b"layer of two"]]

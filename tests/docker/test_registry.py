"""Images of a few bytes on their way to a real registry, by a real Docker engine and by skopeo."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import tiny_images
from tests.support.docker_engine import MACHINE, Engine
from tests.support.docker_registry import Registry
from tools.cluster.images.push import name_in, push, save
from tools.cluster.providers.base import Image
from tools.cluster.shell import run

REFS = [f"docker.io/flowcluster/{name}:0123456789ab" for name in ("operator", "runtime")]


@pytest.fixture
def built(tmp_path: Path) -> list[Image]:
    """Two images, as buildah leaves them."""
    folder = tmp_path / "oci"
    tiny_images.make(folder, REFS)
    return [Image(ref, folder) for ref in REFS]


@pytest.mark.timeout(600)
def test_registry_has_the_images_that_skopeo_pushes(registry: Registry, built: list[Image]) -> None:
    for image in built:
        name = name_in(f"127.0.0.1:{registry.port}/team", image.ref)
        push(image, name)

        assert registry.label(name) == image.ref


@pytest.mark.timeout(600)
def test_registry_has_the_images_that_docker_loads_from_an_archive_and_pushes(
    with_docker: Engine, registry: Registry, built: list[Image], tmp_path: Path
) -> None:
    save(built, REFS, tmp_path / "images.tar")
    with_docker.docker("load", "--input", tmp_path / "images.tar")

    for ref in REFS:
        name = name_in(f"{MACHINE}:{registry.port}/team", ref)
        push(Image(ref), name)

        assert registry.label(name) == ref


@pytest.mark.timeout(600)
def test_archive_of_docker_has_each_image_by_its_name_in_the_registry(
    with_docker: Engine, built: list[Image], tmp_path: Path
) -> None:
    save(built, REFS, tmp_path / "first.tar")
    with_docker.docker("load", "--input", tmp_path / "first.tar")
    names = [name_in("registry.example.com/team", ref) for ref in REFS]

    save([Image(ref) for ref in REFS], names, tmp_path / "images.tar")

    with_docker.docker("image", "rm", *REFS, *names)
    with_docker.docker("load", "--input", tmp_path / "images.tar")
    labels = [with_docker.docker("image", "inspect", "--format", "{{.Config.Labels.name}}", name) for name in names]
    assert [text.strip() for text in labels] == REFS


@pytest.mark.timeout(600)
def test_registry_has_the_images_that_skopeo_copies_from_an_archive(
    registry: Registry, built: list[Image], tmp_path: Path
) -> None:
    names = [name_in(f"127.0.0.1:{registry.port}/team", ref) for ref in REFS]
    save(built, names, tmp_path / "images.tar")

    for name, ref in zip(names, REFS, strict=True):
        archive = f"docker-archive:{tmp_path / 'images.tar'}:{name}"
        run(["skopeo", "copy", "--quiet", "--insecure-policy", archive, f"docker://{name}"])

        assert registry.label(name) == ref

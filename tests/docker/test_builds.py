"""The project's images, built by the tool with a real Docker engine, on a stand-in for the public Python image."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support import own_cache, package_index
from tests.support.docker_engine import Engine
from tools.cluster import cache
from tools.cluster.errors import ToolError
from tools.cluster.images import build, python
from tools.cluster.images.spec import ROOT

#: The image with the fewest packages.
NAME = "operator"
LOCKS = [ROOT / "requirements" / f"{name}.lock" for name in ("build", NAME)]


@pytest.fixture
def without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of pip, no proxies and no builds of other tests."""
    monkeypatch.setenv(cache.ENV_CACHE, str(own_cache.make(tmp_path / "cache")))
    for name in list(os.environ):
        if name.upper().startswith("PIP_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


@pytest.mark.timeout(1800)
def test_build_uses_an_index_of_a_private_authority_and_keeps_no_secret(
    with_docker: Engine, python_image: str, without_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login is in the address of the index, and only the user trusts its authority."""
    with package_index.running(tmp_path / "index", LOCKS) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        with pytest.raises(ToolError, match="exited 1"):
            build.build([NAME])

        monkeypatch.setenv("PIP_CERT", str(index.authority))
        image = build.build([NAME])[NAME]

        assert {path.name for path in index.files.iterdir()} == index.served
        archive = tmp_path / "image.tar"
        with_docker.docker("save", "--output", archive, image.ref)
        content = archive.read_bytes()  # of all layers, uncompressed, and of the history
        certificate = re.sub(r"-----.*-----|\s", "", index.authority.read_text())
        assert b"flowcluster_operator/__main__.py" in content
        assert index.password.encode() not in content
        assert certificate[:60].encode() not in content

    assert build.find(image.ref) == image
    base = with_docker.docker("image", "inspect", "--format", "{{index .RootFS.Layers 0}}", python_image)
    layers = with_docker.docker("image", "inspect", "--format", "{{.RootFS.Layers}}", image.ref)
    assert base.strip() in layers
    version = ["run", "--rm", "--entrypoint", "python", image.ref, "--version"]
    assert with_docker.docker(*version).startswith(f"Python {python.VERSION}.")

"""A Docker engine and a registry for the tests of the Docker way.

They prove how images are built by Docker, pushed to a registry and carried in an archive, and that a cluster of kind
starts and is removed. Each module states what it proves and what it does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docker_engine, docker_registry
from tests.support.docker_engine import Engine
from tests.support.docker_registry import Registry
from tools.cluster import docker


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker engine of these tests' own."""
    with docker_engine.running(tmp_path_factory.mktemp("docker")) as found:
        yield found


@pytest.fixture(scope="session")
def python_image(engine: Engine) -> str:
    """The stand-in for the public Python image, in the engine's store under the public name."""
    return docker_engine.add_python_image(engine)


@pytest.fixture
def with_docker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine, which answers the tool."""
    monkeypatch.setenv("PATH", str(docker_engine.programs() / "usr/bin"), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    docker.trouble.cache_clear()
    yield engine
    docker.trouble.cache_clear()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """An empty registry whose certificate an authority of the test signs; skopeo trusts it."""
    with docker_registry.running(tmp_path / "registry") as found:
        monkeypatch.setenv("SSL_CERT_FILE", str(found.authority))
        yield found

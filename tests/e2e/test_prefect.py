"""A Prefect flow, with Prefect's own unmodified Dask task runner, on a cluster of flowcluster."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.shared_clusters import shared_cluster
from tests.support.waiting import wait_until
from tests.support.world import FLOWS, ROOT, World
from tools.cluster import api, cache
from tools.cluster.progress import step
from tools.install import Installed

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("prefect")]  # they share an environment

LOCK = ROOT / "requirements" / "prefect.lock"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with Prefect, created once and cached outside of the checkout."""

    def make(folder: Path) -> None:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        options = [
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            "--python",
            str(folder / "venv" / "bin" / "python"),
        ]
        with step("installing Prefect"):
            subprocess.run([str(uv), "pip", "install", *options, "-r", str(LOCK)], check=True)

    key = cache.digest([LOCK.read_bytes(), sys.version])[:16]
    return cache.entry("prefect", key, make, "installing Prefect") / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def image(installed: Installed) -> str:
    """An image with Prefect for the workers."""
    return api.ensure_images(api.ensure_up(), ["prefect"])["prefect"]


@pytest.fixture
def environment(installed: Installed, python: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment variables for Prefect, with a Prefect server that this machine and the pods can reach."""
    config = yaml.safe_load(installed.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    with socket.create_connection((str(server.hostname), server.port or 443)) as connection:
        address = connection.getsockname()[0]
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    variables = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://{address}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT / "sdk"),
    }
    command = [str(python), "-m", "prefect", "server", "start", "--host", "0.0.0.0", "--port", str(port), "--no-ui"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "server.log").read_text()
        try:
            return bool(urllib.request.urlopen(f"{variables['PREFECT_API_URL']}/health", timeout=2).read())
        except OSError:
            return False

    try:
        wait_until(answers, "Prefect's server answers", 120, every=0.5)
        yield variables
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(tmp_path / "prefect", ignore_errors=True)


def test_prefect_flow_uses_a_cluster_of_its_own(
    world: World, installed: Installed, python: Path, image: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Its tasks run in pods of a cluster that scaled up for it, and nothing of the cluster is left."""
    given: dict[str, Any] = {
        "CLUSTER_KUBECONFIG": str(installed.kubeconfig),
        "CLUSTER_NAMESPACE": world.namespace,
        "CLUSTER_IMAGE": image,
    }
    done = subprocess.run(
        [python, FLOWS / "prefect_places.py"],
        cwd=tmp_path,
        env={**environment, **given},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    numbers, places = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert numbers == tuple("012345")
    (run,) = world.runs()
    assert run["metadata"]["name"].startswith("prefect-run-")
    assert all(place.startswith(run["metadata"]["name"]) for place in places)
    assert 1 <= run["status"]["cluster"]["peakWorkers"] <= 2
    assert world.wait_phase(run["metadata"]["name"], "Succeeded", "Failed")["phase"] == "Succeeded"


@pytest.mark.long
def test_prefect_flow_uses_a_shared_cluster(
    world: World, installed: Installed, python: Path, image: str, environment: dict[str, str], tmp_path: Path
) -> None:
    given = {
        "CLUSTER_KUBECONFIG": str(installed.kubeconfig),
        "CLUSTER_NAMESPACE": world.namespace,
        "CLUSTER_SHARED": "team",
    }
    with shared_cluster(world, "Dask", image=image) as clusters:
        before = clusters.scheduler("team")
        for _ in range(2):
            done = subprocess.run(
                [python, FLOWS / "prefect_places.py"],
                cwd=tmp_path,
                env={**environment, **given},
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            assert [line.split()[0] for line in done.stdout.splitlines()] == list("012345")
        assert clusters.scheduler("team") == before
    names = [run["metadata"]["name"] for run in world.runs()]
    assert len(names) == 2
    for name in names:
        assert name.startswith("prefect-run-")
        assert world.wait_phase(name, "Succeeded", "Failed")["phase"] == "Succeeded"

"""Whole programs on Ray clusters of their own, as a person runs them, and what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import FLOWS, ROOT, World
from tools.install import Installed

# In `make test`, `test_a_flow_with_a_cluster_of_its_own` of test_clusters_from_python.py has a flow on such a cluster
# and its record, `test_tasks_bring_the_workers_that_they_ask_for` a cluster that begins without workers, and
# `test_all_that_tasks_print_is_shown_before_the_end` of tests/contract what a Ray client shows.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


@pytest.fixture
def environment(installed: Installed, world: World, tmp_path: Path) -> dict[str, str]:
    """Leads programs to the test's namespace, as a person's own kubeconfig would."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(installed.kubeconfig.read_bytes())
    command: list[str | Path] = [installed.kubectl, "--kubeconfig", kubeconfig, "config", "set-context", "--current"]
    subprocess.run([*command, f"--namespace={world.namespace}"], check=True, capture_output=True)
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=240)


def test_the_example(world: World, environment: dict[str, str]) -> None:
    """A flow on threads and its subflow on Ray: with `--kubernetes`, on a cluster that is gone with the subflow."""
    done = run(environment, ROOT / "examples" / "ray_subflow.py", "--kubernetes")

    assert done.returncode == 0, done.stderr
    for word in ("hello", "goodbye"):
        for name in ("arthur", "trillian", "ford", "marvin"):
            assert done.stdout.count(f"{word} {name}") == 2, done.stdout
    world.wait_empty(20)


def test_a_flow_on_a_cluster_of_its_own(world: World, environment: dict[str, str]) -> None:
    """No worker before the first task; what tasks print and log is seen here; the record has the flow's outcome."""
    done = run(environment, FLOWS / "ray_squares.py")
    assert done.returncode == 0, done.stderr
    assert "sum 14" in done.stdout
    assert all(f"square of {number}" in done.stdout for number in range(4))
    assert all(f"{number} is squared" in done.stderr for number in range(4))
    world.wait_empty(20)
    (record,) = world.runs()
    status = world.wait_phase(record["metadata"]["name"], "Succeeded", "Failed")
    assert status["flow"]["tasks"]["completed"] == 4
    assert 1 <= status["cluster"]["peakWorkers"] <= 2

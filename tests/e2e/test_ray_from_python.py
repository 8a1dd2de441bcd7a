"""Whole programs on Ray clusters of their own, as users run them, and what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import FLOWS, ROOT, World
from tools.install import Installed

# In `make test`, `test_flow_runs_its_tasks_on_a_cluster_of_its_own` of test_clusters_from_python.py has such a flow
# and its record, `test_tasks_scale_up_the_workers_that_they_request` a cluster that starts without workers, and
# `test_all_that_tasks_print_is_shown_before_the_program_ends` of tests/contract the prints of a Ray client.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


@pytest.fixture
def environment(installed: Installed, world: World, tmp_path: Path) -> dict[str, str]:
    """Environment variables that select the test's namespace, as a user's own kubeconfig does."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(installed.kubeconfig.read_bytes())
    command: list[str | Path] = [installed.kubectl, "--kubeconfig", kubeconfig, "config", "set-context", "--current"]
    subprocess.run([*command, f"--namespace={world.namespace}"], check=True, capture_output=True)
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=240)


def test_example_runs_its_subflow_on_kubernetes(world: World, environment: dict[str, str]) -> None:
    """The flow runs on threads. With `--kubernetes`, its subflow runs on a Ray cluster, which ends with the subflow."""
    done = run(environment, ROOT / "examples" / "ray_subflow.py", "--kubernetes")

    assert done.returncode == 0, done.stderr
    for word in ("hello", "goodbye"):
        for name in ("arthur", "trillian", "ford", "marvin"):
            assert done.stdout.count(f"{word} {name}") == 2, done.stdout
    world.wait_empty(20)


def test_program_shows_prints_and_logs_of_its_tasks(world: World, environment: dict[str, str]) -> None:
    """There is no worker before the first task. The record has the flow's outcome."""
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

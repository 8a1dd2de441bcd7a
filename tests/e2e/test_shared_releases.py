"""The chart of a shared cluster: installed, tested, upgraded, rolled back and uninstalled, while runs are on it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.shared_clusters import SharedClusters, by_reference
from tests.support.waiting import wait_until
from tests.support.world import World
from tools.chart import package_shared
from tools.install import Installed


class Release:
    """A release of the chart in the namespace of a test."""

    def __init__(self, installed: Installed, world: World, folder: Path, kind: str) -> None:
        self._command = [str(installed.helm), "--kubeconfig", str(installed.kubeconfig), "--namespace", world.namespace]
        self._archive = str(package_shared(str(installed.helm), folder))
        repository, _, tag = installed.images["runtime"].rpartition(":")
        self._values = ["--set", f"kind={kind},runtimeImage.repository={repository}"]
        self._values += ["--set-string", f"runtimeImage.tag={tag}"]

    def __call__(self, *arguments: str, values: tuple[str, ...] = ()) -> str:
        """Execute helm; with `install` or `upgrade`, the chart and these values."""
        more = [self._archive, *self._values] if arguments[0] in ("install", "upgrade") else []
        for value in values:
            more += ["--set", value]
        done = subprocess.run(
            [*self._command, *arguments, *more], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def rights_of_test(world: World) -> list[str]:
    """Return the names of the objects that grant the pod of `helm test` its rights."""
    accounts = world.core.list_namespaced_service_account(world.namespace).items
    listed = [*accounts, *world.rbac.list_namespaced_role(world.namespace).items]
    listed += world.rbac.list_namespaced_role_binding(world.namespace).items
    return [item.metadata.name for item in listed if item.metadata.name == "team-test"]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["Dask", "Ray"])
def test_release_is_installed_tested_upgraded_rolled_back_and_leaves_nothing(
    kind: str, world: World, installed: Installed, tmp_path: Path
) -> None:
    helm, clusters = Release(installed, world, tmp_path, kind), SharedClusters(world)
    notes = helm("install", "team", values=("workers.minimum=1", "workers.maximum=1"))
    assert "WARNING" not in notes
    clusters.wait_phase("team", "Ready", 180)
    first = clusters.scheduler("team")
    for _ in range(2):  # the second test replaces the pod of the first one
        tested = helm("test", "team", "--logs")
        assert "Phase:          Succeeded" in tested
        assert "a task ran on SharedCluster team" in tested
    assert rights_of_test(world) == []
    wait_until(lambda: not world.runs(), "the record of the test is deleted", 60)

    helm("upgrade", "team", values=("workers.minimum=2", "workers.maximum=2"))
    wait_until(lambda: world.live_workers() == 2, "more workers join the live cluster", 90)
    assert clusters.scheduler("team") == first

    by_reference(world, "on-it", "shared_work.py:holds")
    world.wait_phase("on-it", "Running")
    helm("upgrade", "team", values=("workers.minimum=2", "workers.maximum=2", "workers.threads=2"))
    wait_until(lambda: clusters.condition("team", "UpToDate") == "False", "the upgrade waits for the run", 30)
    assert (clusters.scheduler("team"), world.status("on-it")["phase"]) == (first, "Running")
    world.patch("on-it", {"cancel": True})
    wait_until(lambda: clusters.condition("team", "UpToDate") == "True", "the cluster is replaced", 240)
    clusters.wait_phase("team", "Ready", 180)
    second = clusters.scheduler("team")
    assert second != first

    by_reference(world, "lost", "shared_work.py:holds")
    world.wait_phase("lost", "Running")
    helm("upgrade", "team", values=("workers.minimum=2", "workers.maximum=2", "workers.threads=1", "upgrade=Now"))
    assert world.wait_phase("lost", "Failed", seconds=60)["reason"] == "ClusterLost"
    clusters.wait_phase("team", "Ready", 240)

    helm("rollback", "team", "1")
    wait_until(lambda: world.live_workers() == 1, "the former number of workers", 180)
    helm("uninstall", "team")
    wait_until(lambda: clusters.get("team") is None, "the SharedCluster is deleted", 60)
    world.wait_empty(60)

"""Clusters that many runs share, from their creation to their deletion."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client, Event

from flowcluster.clusters import SharedKubernetesCluster
from flowcluster.errors import ClusterNotStarted
from flowcluster_api import names
from tests.support.shared_clusters import SharedClusters, by_reference, shared_cluster
from tests.support.shared_loads import known_keys
from tests.support.shared_programs import CLASSES, HELD, KEPT, RELEASED_SECONDS, task_holder, work_for
from tests.support.waiting import wait_until
from tests.support.world import ROOT, World, own_world
from tools.install import Installed

pytestmark = [
    # Tests with a fake API server and those on a rig keep the same promises in `make test`.
    pytest.mark.long,
    pytest.mark.timeout(400),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

both_kinds = pytest.mark.parametrize("kind", ["Dask", "Ray"])


def busy(world: World, name: str) -> bool:
    """Return whether a task of a run is being executed, by the counts of the run's driver."""
    tasks = (world.status(name).get("flow") or {}).get("tasks") or {}
    return bool(tasks.get("running"))


@both_kinds
def test_suspended_cluster_has_nothing_and_serves_runs_after_that(kind: str, world: World) -> None:
    with shared_cluster(world, kind) as clusters:
        by_reference(world, "before", "shared_work.py:holds")
        world.wait_phase("before", "Running")
        clusters.patch("team", suspend=True)
        clusters.wait_phase("team", "Suspended")
        assert world.wait_phase("before", "Failed")["reason"] == "ClusterLost"
        world.wait_empty(30)
        by_reference(world, "after", "outcomes.py:good", parameters={"x": 21})
        wait_until(lambda: "suspend" in (world.status("after").get("message") or ""), "the run names the cause", 20)

        clusters.patch("team", suspend=False)
        status = world.wait_phase("after", "Succeeded", "Failed", seconds=180)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "42")


@both_kinds
def test_idle_cluster_is_shut_down_and_a_run_and_a_program_wake_it(
    kind: str, world: World, where: dict[str, Any]
) -> None:
    with shared_cluster(world, kind, idleShutdownSeconds=10) as clusters:
        clusters.wait_phase("team", "Sleeping", 90)
        world.wait_empty(30)
        assert clusters.condition("team", "Ready") == "True"
        by_reference(world, "run", "outcomes.py:good", parameters={"x": 21})
        status = world.wait_phase("run", "Succeeded", "Failed", seconds=180)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "42"), status["message"]
        clusters.wait_phase("team", "Sleeping", 90)
        with CLASSES[kind]("team", **where) as cluster, work_for(cluster) as execute:
            assert execute(sum, [1, 2]) == 3


def test_workers_of_a_shared_cluster_scale_with_the_work(world: World, where: dict[str, Any]) -> None:
    def hold(number: int) -> int:
        Event("released").wait()
        return number

    with (
        shared_cluster(world, "Dask", workers={"minimum": 0, "maximum": 3}),
        SharedKubernetesCluster("team", **where) as cluster,
        Client(cluster) as client,
    ):
        futures = client.map(hold, range(6), pure=False)
        wait_until(lambda: world.live_workers() == 3, "three workers were requested", 30)
        cluster.wait_for_workers(3, 60)
        Event("released", client=client).set()
        assert client.gather(futures) == list(range(6))
        del futures
        wait_until(lambda: world.live_workers() == 0, "all are gone", 60)


def test_killed_program_leaves_nothing_on_the_cluster_and_disturbs_no_other(
    world: World, where: dict[str, Any]
) -> None:
    def names_on(client: Client) -> set[str]:
        return known_keys(client) | {str(name) for name in client.list_datasets()}

    with (
        shared_cluster(world, "Dask", workers={"minimum": 2, "maximum": 2}),
        SharedKubernetesCluster("team", **where) as cluster,
        Client(cluster) as client,
        task_holder(where) as program,
    ):
        mine = client.submit(sum, [3, 4], key="mine")
        assert mine.result(60) == 7
        assert {HELD, KEPT, "mine"} <= names_on(client)
        program.send_signal(signal.SIGKILL)
        wait_until(lambda: not {HELD, KEPT} & names_on(client), "its work is gone", RELEASED_SECONDS)
        assert mine.result(10) == 7


@both_kinds
def test_lost_scheduler_ends_the_runs_on_it_and_serves_the_next_ones(
    kind: str, world: World, where: dict[str, Any]
) -> None:
    with shared_cluster(world, kind) as clusters:
        before = clusters.scheduler("team")
        by_reference(world, "lost", "shared_work.py:holds")
        by_reference(world, "again", "shared_work.py:holds_until_lost", flow={"backoffLimit": 1})
        for name in ("lost", "again"):
            wait_until(functools.partial(busy, world, name), f"the task of {name} runs", 120)
        (leader,) = world.pods(names.HEAD_COMPONENTS[kind])
        world.core.delete_namespaced_pod(leader.metadata.name, world.namespace, grace_period_seconds=0)

        assert world.wait_phase("lost", "Failed", seconds=30)["reason"] == "ClusterLost"
        clusters.wait_phase("team", "Ready", 180)
        wait_until(lambda: clusters.scheduler("team") != before, "another scheduler or head is used", 60)
        assert clusters.status("team")["restarts"] == 1
        status = world.wait_phase("again", "Succeeded", "Failed", seconds=240)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "1"), status["message"]
        with CLASSES[kind]("team", **where) as cluster, work_for(cluster) as execute:
            assert execute(sum, [1, 2]) == 3


def test_another_namespace_needs_the_grant(world: World, installed: Installed) -> None:
    with (
        own_world(installed.kubeconfig, "guest") as guest,
        shared_cluster(world, "Dask") as clusters,
    ):
        place = {"kubeconfig": str(installed.kubeconfig), "namespace": guest.namespace}
        with pytest.raises(ClusterNotStarted, match="SharedCluster"):
            SharedKubernetesCluster(f"team/{world.namespace}", start_deadline_seconds=10, **place)  # type: ignore[arg-type]
        clusters.patch("team", allowedNamespaces=[guest.namespace])
        with (
            SharedKubernetesCluster(f"team/{world.namespace}", **place) as cluster,  # type: ignore[arg-type]
            Client(cluster) as client,
        ):
            assert client.submit(sum, [1, 2]).result(60) == 3


@both_kinds
def test_driver_in_a_granted_namespace_uses_the_cluster_until_the_grant_is_withdrawn(
    kind: str, world: World, installed: Installed
) -> None:
    place = {"namespace": world.namespace}
    with (
        own_world(installed.kubeconfig, "guest") as guest,
        shared_cluster(world, kind, allowedNamespaces=[guest.namespace]) as clusters,
    ):
        by_reference(guest, "done", "outcomes.py:good", parameters={"x": 21}, ref=place)
        status = guest.wait_phase("done", "Succeeded", "Failed", seconds=180)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "42"), status["message"]
        by_reference(guest, "held", "shared_work.py:holds", ref=place)
        wait_until(functools.partial(busy, guest, "held"), "the task of held runs", 120)
        clusters.patch("team", allowedNamespaces=[])
        assert guest.wait_phase("held", "Failed", seconds=60)["reason"] == "ClusterLost"
        guest.wait_empty(60)


@both_kinds
def test_sample_and_its_twin_share_a_cluster(kind: str, world: World, where: dict[str, Any], tmp_path: Path) -> None:
    name = f"shared-{kind.lower()}"
    documents = list(yaml.safe_load_all((ROOT / "manifests" / "samples" / f"{name}.yaml").read_text()))
    clusters = SharedClusters(world)
    for document in documents:
        if document["kind"] == names.SHARED_KIND:
            clusters.create(name, **document["spec"])
        elif document["kind"] == "ConfigMap":
            world.core.create_namespaced_config_map(world.namespace, document)
        else:
            world.create(document)
    try:
        example = f"{name.replace('-', '_')}.py"
        shutil.copy(ROOT / "examples" / example, tmp_path)
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig_of(world, where, tmp_path))}
        done = subprocess.run(
            [sys.executable, example], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.stdout.splitlines()[-2:] == ["140", "190"], done.stderr
        for run, result in (("long", 20540), ("short", 14)):
            status = world.wait_phase(f"{name}-{run}", "Succeeded", "Failed", seconds=180)
            assert (status["phase"], status["flow"]["result"]) == ("Succeeded", str(result))
    finally:
        clusters.delete(name)
    world.wait_empty(60)


def kubeconfig_of(world: World, where: dict[str, Any], folder: Path) -> Path:
    """Write a kubeconfig whose namespace is that of the test."""
    config = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    config["contexts"][0]["context"]["namespace"] = world.namespace
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path

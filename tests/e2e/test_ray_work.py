"""Work on Ray clusters: resources of tasks, losses of parts, and clusters of other runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World, scale
from tools.install import RELEASE, SYSTEM, Installed

pytestmark = pytest.mark.timeout(600)


def begin(world: World, entrypoint: str, cluster: dict[str, Any], name: str = "run") -> None:
    """Start a flow on a Ray cluster."""
    world.create(FlowRun(name, world.flow(entrypoint), None, {"cluster": {"kind": "Ray"} | cluster}).body())


def result(world: World, name: str = "run") -> Any:
    """Wait until the flow completes, and return its result."""
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=180)
    assert status["phase"] == "Succeeded", status
    return json.loads(status["flow"]["result"])


def log(world: World) -> str:
    """Return the log of the driver so far."""
    (driver,) = world.pods("driver")
    return str(world.core.read_namespaced_pod_log(driver.metadata.name, world.namespace))


def test_tasks_scale_up_the_workers_that_they_request(world: World) -> None:
    """GPUs and other resources count as CPUs do. A task that no worker can ever run fails immediately."""
    workers = {"minimum": 0, "maximum": 1, "taskResources": {"GPU": 1, "desk": 1}}
    begin(world, "ray_work.py:demanding", {"workers": workers})
    where, message = result(world)

    assert "-worker-" in where
    assert "requests 1 CPU, 2 desk. No node has more than 1 desk, and no worker that it starts will" in message


def test_tasks_are_retried_when_their_worker_is_killed(world: World) -> None:
    """They are executed again on the worker's replacement, up to their number of retries."""
    begin(world, "ray_work.py:survives", {"workers": {"minimum": 1, "maximum": 1}})
    world.wait_phase("run", "Running")
    wait_until(lambda: "it runs" in log(world), "the task runs, and what it prints is in the driver's log")
    (worker,) = world.pods("worker")
    world.core.delete_namespaced_pod(worker.metadata.name, world.namespace, grace_period_seconds=0)

    assert result(world) == 2


# Other tests cover the parts: `test_run_that_ends_while_the_operator_is_away_is_recorded_later` the end,
# `test_tasks_scale_up_the_workers_that_they_request` the workers, and the chaos sample a Ray cluster that starts while
# the operator is away ("success/Ray/away@POST-jobs").
@pytest.mark.long
@pytest.mark.alone
def test_workers_scale_up_while_the_operator_is_away(world: World, installed: Installed) -> None:
    """Workers start with the work, and the flow completes. The operator records that and cleans up when it is back."""
    begin(world, "annotated.py:later", {"workers": {"minimum": 0, "maximum": 2}})
    world.wait_phase("run", "Running")
    system = World(installed.kubeconfig, SYSTEM)
    scale(system, RELEASE, 0)
    try:
        world.annotate("run", "work")
        wait_until(
            lambda: any(pod.status.phase in ("Succeeded", "Failed") for pod in world.pods("driver")),
            "the flow is over",
            180,
        )
        assert world.pods("head")
    finally:
        scale(system, RELEASE, 1)
        system.close()

    assert result(world) == 2
    assert world.everything() == []


@pytest.mark.long  # runs on Dask and without a cluster are suspended by `make test`
def test_suspended_run_starts_from_the_beginning_when_it_is_resumed(world: World) -> None:
    """Nothing of it exists while it is suspended."""
    begin(world, "annotated.py:later", {"workers": {"minimum": 1, "maximum": 1}})
    world.wait_phase("run", "Running")
    world.patch("run", {"suspend": True})
    world.wait_phase("run", "Suspended")
    world.wait_empty(30)
    world.patch("run", {"suspend": False})
    world.wait_phase("run", "Running")
    world.annotate("run", "work")

    assert result(world) == 1


def test_referenced_cluster_is_used_and_not_changed(world: World) -> None:
    """A run on another run's cluster uses it with its token. The cluster runs on afterwards."""
    world.create(
        FlowRun(
            "shared", None, None, {"cluster": {"kind": "Ray", "workers": {"minimum": 1}}, "leaseDurationSeconds": 300}
        ).body()
    )
    world.wait_phase("shared", "Running")
    (before,) = world.ray_clusters()
    begin(world, "annotated.py:later", {"ref": {"name": before["metadata"]["name"]}})
    world.wait_phase("run", "Running")
    world.annotate("run", "work")

    assert result(world) == 1
    (after,) = world.ray_clusters()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    world.end("shared", "cancel")


def test_subflows_on_ray_and_on_dask_have_clusters_of_their_own(world: World) -> None:
    """In a pod, each subflow gets a child run of the flow's run, and its cluster is deleted when the subflow ends."""
    world.create(FlowRun("both", world.flow("subflows.py:both"), None).body())
    status = world.wait_phase("both", "Succeeded", "Failed", seconds=180)

    assert json.loads(status["flow"]["result"]) == [3, 7]
    kinds = {item["spec"].get("cluster", {}).get("kind"): item["metadata"] for item in world.runs()}
    assert {"Ray", "Dask"} < set(kinds)
    assert all(kinds[kind]["ownerReferences"][0]["kind"] == names.KIND for kind in ("Ray", "Dask"))
    world.wait_empty(30)

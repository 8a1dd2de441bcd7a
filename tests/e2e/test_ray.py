"""Runs on Ray clusters of their own: the same states as on Dask, with KubeRay in place of dask-kubernetes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World, scale
from tools.install import SYSTEM
from tools.kuberay import NAME as KUBERAY

pytestmark = pytest.mark.timeout(300)

NAPS = "endless.py:naps"
PLACES = "ray_work.py:places"


def on_ray(world: World, entrypoint: str, parameters: Any = None, name: str = "run", **workers: Any) -> str:
    """Start a flow on a Ray cluster of its own, and return the name of its run."""
    bounds = {"minimum": 1, "maximum": 1} | workers
    flow = world.flow(entrypoint, parameters=parameters or {})
    world.create(FlowRun(name, flow, None, {"cluster": {"kind": "Ray", "workers": bounds}}).body())
    return name


def result(world: World, name: str = "run", seconds: float = 120) -> Any:
    """Wait until the flow completes, and return its result."""
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=seconds)
    assert status["phase"] == "Succeeded", status
    return json.loads(status["flow"]["result"])


def test_sample_succeeds(world: World) -> None:
    """The sample of the README runs on Ray, prints its greetings, and leaves nothing."""
    name = world.apply_sample("greetings-ray")
    wait_until(lambda: world.pods("driver"), "there is a driver")
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=120)

    assert (status["phase"], status["cluster"]["kind"]) == ("Succeeded", "Ray")
    # The flow can end before the second worker is Ready.
    assert status["cluster"]["peakWorkers"] in (1, 2)
    assert status["flow"]["tasks"] == {"total": 8, "running": 0, "completed": 8, "failed": 0}
    assert world.everything() == []


@pytest.mark.long  # `test_tasks_scale_up_the_workers_that_they_request` also checks where its tasks run
def test_tasks_run_on_workers(world: World) -> None:
    """No task runs on the head or in the driver's pod, which is a node of the cluster too."""
    on_ray(world, PLACES)
    workers = wait_until(lambda: [pod.metadata.name for pod in world.pods("worker")], "there is a worker")

    assert result(world) == workers


@pytest.mark.long  # `test_tasks_scale_up_the_workers_that_they_request` starts in the same way
def test_first_worker_starts_with_the_first_task_when_the_minimum_is_zero(world: World) -> None:
    """The head scales up from zero workers for the first task."""
    on_ray(world, PLACES, {"count": 1}, minimum=0, maximum=2)
    world.wait_phase("run", "Running")

    assert len(result(world)) == 1
    assert world.status("run")["cluster"]["peakWorkers"] == 1


def test_head_refuses_requests_without_the_token_of_the_run(world: World) -> None:
    """It refuses jobs, requests to the dashboard, and Ray clients."""
    on_ray(world, NAPS)
    address = world.wait_phase("run", "Running")["cluster"]["address"].rpartition(":")[0]
    flow = world.flow("strangers.py:of_ray", parameters={"head": address})
    world.create(FlowRun("stranger", flow, None).body())

    answers = result(world, "stranger")
    assert (answers["job"], answers["nodes"]) == (401, 401)
    assert answers["client"].startswith("refused: ")
    world.patch("run", {"cancel": True})
    world.wait_phase("run", "Cancelled")


@pytest.mark.parametrize("component", ["head", pytest.param("driver", marks=pytest.mark.long)])
def test_run_fails_when_its_head_or_its_driver_is_killed(world: World, component: str) -> None:
    """The head has all state of the cluster, and the driver the flow. The record names the lost one."""
    on_ray(world, NAPS)
    world.wait_phase("run", "Running")
    (pod,) = world.pods(component)
    world.core.delete_namespaced_pod(pod.metadata.name, world.namespace, grace_period_seconds=0)
    status = world.wait_phase("run", "Failed")

    assert status["reason"] == {"head": "ClusterLost", "driver": "DriverLost"}[component]


@pytest.mark.parametrize(
    ("end", "phase"),
    [
        ("delete", "Starting"),
        pytest.param("cancel", "Running", marks=pytest.mark.long),
        pytest.param("cancel", "Starting", marks=pytest.mark.long),
        pytest.param("delete", "Running", marks=pytest.mark.long),
    ],
)
def test_stopped_run_leaves_nothing(world: World, end: str, phase: str) -> None:
    """The run is stopped in each way, at different times."""
    on_ray(world, NAPS)
    world.wait_phase("run", phase)
    world.end("run", end)


@pytest.mark.parametrize(
    ("cluster", "reason", "words"),
    [
        ({"image": "docker.io/flowcluster/nothing:1"}, "ErrImagePull", "head"),
        ({"scheduler": {"resources": {"requests": {"cpu": "500"}}}}, "Unschedulable", "spec.cluster.scheduler"),
        (
            {"workers": {"minimum": 1, "resources": {"requests": {"cpu": "500"}}}},
            "Unschedulable",
            "spec.cluster.workers",
        ),
        (
            {"scheduler": {"template": {"spec": {"securityContext": {"runAsUser": 0}}}}},
            "FailedToCreateHeadPod",
            "PodSecurity",
        ),
    ],
)
def test_status_names_why_a_run_does_not_start(world: World, cluster: dict[str, Any], reason: str, words: str) -> None:
    """The cause is in the status within seconds, for the head and for workers."""
    world.create(FlowRun("run", world.flow(NAPS), None, {"cluster": {"kind": "Ray"} | cluster}).body())
    wait_until(lambda: world.status("run").get("reason") == reason, f"the reason is {reason}", 40)

    assert words in world.status("run")["message"]
    world.delete("run")


@pytest.mark.alone
def test_run_names_kuberay_while_it_is_away(world: World, installed: Any) -> None:
    """The status names KubeRay as missing. The run continues when KubeRay is back, and ends while it is away again."""
    system = World(installed.kubeconfig, SYSTEM)
    scale(system, KUBERAY, 0)
    try:
        on_ray(world, NAPS)
        wait_until(lambda: world.status("run").get("reason") == "ClusterOperatorSilent", "it says so", 30)
        scale(system, KUBERAY, 1)
        world.wait_phase("run", "Running")
        scale(system, KUBERAY, 0)
        world.patch("run", {"cancel": True})
        world.wait_phase("run", "Cancelled")
        assert world.everything() == []
    finally:
        scale(system, KUBERAY, 1)
        system.close()

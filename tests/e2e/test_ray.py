"""Runs on Ray clusters of their own: the same life as on Dask, with KubeRay in the place of dask-kubernetes."""

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
    """Start a flow on a Ray cluster of its own; name of its run."""
    bounds = {"minimum": 1, "maximum": 1} | workers
    flow = world.flow(entrypoint, parameters=parameters or {})
    world.create(FlowRun(name, flow, None, {"cluster": {"kind": "Ray", "workers": bounds}}).body())
    return name


def result(world: World, name: str = "run", seconds: float = 120) -> Any:
    """What the flow returned."""
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=seconds)
    assert status["phase"] == "Succeeded", status
    return json.loads(status["flow"]["result"])


def test_the_sample(world: World) -> None:
    """What the README says of greetings on Ray: it succeeds, says hello, and nothing is left."""
    name = world.apply_sample("greetings-ray")
    wait_until(lambda: world.pods("driver"), "there is a driver")
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=120)

    assert (status["phase"], status["cluster"]["kind"]) == ("Succeeded", "Ray")
    # The flow may end before the second worker is there.
    assert status["cluster"]["peakWorkers"] in (1, 2)
    assert status["flow"]["tasks"] == {"total": 8, "running": 0, "completed": 8, "failed": 0}
    assert world.everything() == []


@pytest.mark.long  # `test_tasks_bring_the_workers_that_they_ask_for` also sees where its tasks run
def test_tasks_run_on_workers(world: World) -> None:
    """Neither on the head nor in the driver's pod, which is a node of the cluster, too."""
    on_ray(world, PLACES)
    workers = wait_until(lambda: [pod.metadata.name for pod in world.pods("worker")], "there is a worker")

    assert result(world) == workers


@pytest.mark.long  # `test_tasks_bring_the_workers_that_they_ask_for` begins in the same way
def test_workers_come_with_work_and_none_before(world: World) -> None:
    """With a minimum of none, the first task brings the first worker."""
    on_ray(world, PLACES, {"count": 1}, minimum=0, maximum=2)
    world.wait_phase("run", "Running")

    assert len(result(world)) == 1
    assert world.status("run")["cluster"]["peakWorkers"] == 1


def test_nobody_else_is_let_in(world: World) -> None:
    """Neither a job nor a look at the dashboard, nor a Ray client, without the run's token."""
    on_ray(world, NAPS)
    address = world.wait_phase("run", "Running")["cluster"]["address"].rpartition(":")[0]
    flow = world.flow("strangers.py:of_ray", parameters={"head": address})
    world.create(FlowRun("stranger", flow, None).body())

    said = result(world, "stranger")
    assert (said["job"], said["nodes"]) == (401, 401)
    assert said["client"].startswith("refused: ")
    world.patch("run", {"cancel": True})
    world.wait_phase("run", "Cancelled")


@pytest.mark.parametrize("component", ["head", pytest.param("driver", marks=pytest.mark.long)])
def test_a_part_that_is_killed_ends_the_run(world: World, component: str) -> None:
    """All state is with the head, and the flow with its driver: the record says which of them went."""
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
def test_a_run_that_is_stopped_leaves_nothing(world: World, end: str, phase: str) -> None:
    """Whenever and however somebody ends it."""
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
def test_why_a_run_does_not_start(world: World, cluster: dict[str, Any], reason: str, words: str) -> None:
    """The cause is in status within seconds, for the head as for workers."""
    world.create(FlowRun("run", world.flow(NAPS), None, {"cluster": {"kind": "Ray"} | cluster}).body())
    wait_until(lambda: world.status("run").get("reason") == reason, f"the reason is {reason}", 40)

    assert words in world.status("run")["message"]
    world.delete("run")


@pytest.mark.alone
def test_kuberay_is_away(world: World, installed: Any) -> None:
    """The run says who does not act; when KubeRay is back it goes on, and ends while that is away again."""
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

"""Ray clusters that a Python process asks for, from outside and in a pod. The API server tells what is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcluster_api import names
from tests.support.waiting import wait_until
from tests.support.world import ROOT, FlowRun, World
from tools.install import Installed

pytestmark = pytest.mark.timeout(300)

#: Each program is a process of its own: a process has one Ray.
PLAIN = """
import ray
from flowcluster.clusters import RayKubernetesCluster

with RayKubernetesCluster(n_workers=1, env={"GREETING": "hello"}) as cluster:
    ray.init(cluster.address)
    import os
    print(ray.get(ray.remote(os.getenv).remote("GREETING")), flush=True)
    ray.shutdown()
"""

ADAPTIVE = """
from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import RayTaskRunner

@task
def square(number):
    print(f"square of {number}", flush=True)
    get_run_logger().info("%d is squared", number)
    return number * number

@flow(task_runner=RayTaskRunner(
    cluster_class="flowcluster.clusters.RayKubernetesCluster", adapt_kwargs={"minimum": 0, "maximum": 2}
))
def squares():
    return sum(future.result() for future in square.map(range(4)))

print("sum", squares(), flush=True)
"""

NAPS = """
import time
from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner

@task
def nap():
    time.sleep(600)

@flow(task_runner=RayTaskRunner(
    cluster_class="flowcluster.clusters.RayKubernetesCluster", cluster_kwargs={"n_workers": 1}
))
def naps():
    future = nap.submit()
    print("submitted", flush=True)
    future.result()

naps()
"""

#: Of the lease of the program that holds a cluster.
SECONDS = 10

HOLDS = f"""
import sys
from flowcluster.clusters import RayKubernetesCluster

cluster = RayKubernetesCluster(n_workers=1, lease_duration_seconds={SECONDS})
print("ready", flush=True)
for line in sys.stdin:
    name, arguments = line.split(maxsplit=1)
    try:
        answer = getattr(cluster, name)(**eval(arguments))
    except Exception as error:
        answer = type(error).__name__ + ": " + str(error)
    print(answer, flush=True)
"""

ON_A_LOOP = """
import asyncio
import ray
from flowcluster.clusters import RayKubernetesCluster

async def main():
    async with RayKubernetesCluster(n_workers=1, asynchronous=True) as cluster:
        await asyncio.to_thread(ray.init, cluster.address)
        print("sum", await ray.remote(lambda: sum([1, 2])).remote(), flush=True)
        print("dashboard", cluster.dashboard_link, flush=True)
        print("story", cluster.logs()["Cluster"], flush=True)
        ray.shutdown()

asyncio.run(main())
"""

PARENT = """
from flowcluster import flow, task
from flowcluster.clusters import DaskKubernetesCluster, RayKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

@task
def add(one, other):
    return one + other

@flow(task_runner=RayTaskRunner(cluster_class=RayKubernetesCluster, cluster_kwargs={"n_workers": 1}))
def on_ray():
    return add.submit(1, 2).result()

@flow(task_runner=DaskTaskRunner(cluster_class=DaskKubernetesCluster, cluster_kwargs={"n_workers": 1}))
def on_dask():
    return add.submit(3, 4).result()

@flow
def both():
    return [on_ray(), on_dask()]
"""


@pytest.fixture
def environment(installed: Installed, world: World, tmp_path: Path) -> dict[str, str]:
    """Leads programs to the test's namespace, as a person's own kubeconfig would."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(installed.kubeconfig.read_bytes())
    command: list[str | Path] = [installed.kubectl, "--kubeconfig", kubeconfig, "config", "set-context", "--current"]
    subprocess.run([*command, f"--namespace={world.namespace}"], check=True, capture_output=True)
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}


def run(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_a_cluster_for_plain_ray(world: World, environment: dict[str, str]) -> None:
    """Its address is all that ray.init needs: the token comes by itself."""
    done = run(PLAIN, environment)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout
    world.wait_empty(20)
    (record,) = world.runs()
    status = world.wait_phase(record["metadata"]["name"], "Succeeded", "Failed")
    assert (status["phase"], status["message"]) == ("Succeeded", "the driver gave the cluster back")


def test_a_cluster_on_an_event_loop(environment: dict[str, str]) -> None:
    """Opened, used and closed by coroutines; it has a dashboard, and a story to tell."""
    done = run(ON_A_LOOP, environment)

    assert done.returncode == 0, done.stderr
    assert "sum 3" in done.stdout
    assert "dashboard http://127.0.0.1:" in done.stdout
    assert "Connected" in done.stdout


def test_the_example(world: World, environment: dict[str, str]) -> None:
    """A flow on threads and its subflow on Ray: with `--kubernetes`, on a cluster that is gone with the subflow."""
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "ray_subflow.py", "--kubernetes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stderr
    for word in ("hello", "goodbye"):
        for name in ("arthur", "trillian", "ford", "marvin"):
            assert done.stdout.count(f"{word} {name}") == 2, done.stdout
    world.wait_empty(20)


def test_a_flow_on_a_cluster_of_its_own(world: World, environment: dict[str, str]) -> None:
    """No worker before the first task; what tasks print and log is seen here; the record has the flow's outcome."""
    done = run(ADAPTIVE, environment)
    assert done.returncode == 0, done.stderr
    assert "sum 14" in done.stdout
    assert all(f"square of {number}" in done.stdout for number in range(4))
    assert all(f"{number} is squared" in done.stderr for number in range(4))
    world.wait_empty(20)
    (record,) = world.runs()
    status = world.wait_phase(record["metadata"]["name"], "Succeeded", "Failed")
    assert status["flow"]["tasks"]["completed"] == 4
    assert 1 <= status["cluster"]["peakWorkers"] <= 2


def test_a_head_that_goes_away(world: World, environment: dict[str, str]) -> None:
    """The flow fails at once, and says why: nothing of the cluster comes back."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", NAPS]
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        assert process.stdout.readline() == "submitted\n"
        (head,) = world.pods("head")
        world.core.delete_namespaced_pod(head.metadata.name, world.namespace, grace_period_seconds=0)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "ClusterLost" in said
    (record,) = world.runs()
    assert world.wait_phase(record["metadata"]["name"], "Failed")["reason"] == "ClusterLost"


@pytest.fixture
def holder(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process with a cluster, which calls the methods that it is told on stdin."""
    command = [sys.executable, "-c", HOLDS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def call(holder: subprocess.Popen[str], method: str, **arguments: Any) -> str:
    """Have the process call a method of its cluster; the answer, or the error."""
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"{method} {arguments!r}\n")
    holder.stdin.flush()
    return holder.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("with_its_agent", [False, True])
def test_a_driver_that_is_killed(world: World, holder: subprocess.Popen[str], with_its_agent: bool) -> None:
    """Its agent gives the cluster back at once; with nobody left, it goes within the lease and ten seconds."""
    agents = psutil.Process(holder.pid).children() if with_its_agent else []
    for process in (*agents, psutil.Process(holder.pid)):
        process.kill()
    holder.wait()

    world.wait_empty(SECONDS + 10 if with_its_agent else SECONDS)
    (record,) = world.runs()
    assert world.wait_phase(record["metadata"]["name"], "Failed")["reason"] == "DriverLost"


def test_a_driver_that_was_stopped_for_a_while(world: World, holder: subprocess.Popen[str]) -> None:
    """Stopped for less than its lease it keeps its cluster, and goes on with it."""
    process = psutil.Process(holder.pid)
    process.suspend()
    until = time.monotonic() + 0.8 * SECONDS
    wait_until(lambda: time.monotonic() > until, "it was stopped for long", 60)
    process.resume()

    assert call(holder, "wait_for_workers", n_workers=1) == "None"
    assert world.runs()[0]["status"]["phase"] == "Running"


def test_another_number_of_workers(world: World, holder: subprocess.Popen[str]) -> None:
    """More come at once; those too many go when they have had nothing to do for a while. Nothing else is understood."""

    def workers() -> int:
        return sum(pod.metadata.deletion_timestamp is None for pod in world.pods("worker"))

    assert "wait_count" in call(holder, "adapt", minimum=0, wait_count=3)
    assert call(holder, "scale", n=-1).startswith("ValueError: A cluster cannot have -1 workers")
    assert call(holder, "wait_for_workers", n_workers=2, timeout=1).startswith("TimeoutError: 1 of 2 workers")
    assert call(holder, "scale", n=2) == "None"
    assert call(holder, "wait_for_workers", n_workers=2) == "None"
    assert workers() == 2
    assert call(holder, "adapt", minimum=0, maximum=1) == "None"
    wait_until(lambda: workers() == 0, "no worker is left, as there is no work", 90)
    assert call(holder, "scale", n=1) == "None"
    assert call(holder, "wait_for_workers", n_workers=1) == "None"


def test_a_part_on_ray_and_one_on_dask(world: World) -> None:
    """In a pod, each subflow gets its own cluster beneath the flow's run, and it is gone when that part is done."""
    flow = {"entrypoint": "flow.py:both", "source": world.code(PARENT)}
    world.create(FlowRun("both", flow, None).body())
    status = world.wait_phase("both", "Succeeded", "Failed", seconds=180)

    assert json.loads(status["flow"]["result"]) == [3, 7]
    kinds = {item["spec"].get("cluster", {}).get("kind"): item["metadata"] for item in world.runs()}
    assert {"Ray", "Dask"} < set(kinds)
    assert all(kinds[kind]["ownerReferences"][0]["kind"] == names.KIND for kind in ("Ray", "Dask"))
    world.wait_empty(30)

"""How long a run takes to start and to end, compared with bare pods: ``python -m tests.bench.run_times``.

Each round creates one FlowRun with two workers, and one set of bare pods of the same image and commands. The medians
over the rounds and their ratio are printed. It needs an installed cluster (``make install``), and creates a namespace.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kubernetes import client, watch

from tests.bench import by_hand
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World
from tools.install import Installed, install

WORKERS = 2
FLOWS = Path(__file__).with_name("flows") / "starts.py"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    installed = install()
    world = World(installed.kubeconfig, f"bench-{secrets.token_hex(3)}")
    world.create_namespace()
    try:
        report(measure(world, installed, rounds), imports(world))
    finally:
        world.delete_namespace()
        world.close()


def measure(world: World, installed: Installed, rounds: int) -> dict[str, list[float]]:
    """Return a list of seconds for each figure. FlowRun and bare pods alternate."""
    source = world.code(FLOWS)
    found: dict[str, list[float]] = {"children": [], "first task": [], "bare pods": [], "gone": []}
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        for name, seconds in one_run(world, source, f"run-{number}").items():
            found[name].append(seconds)
        found["bare pods"].append(bare_pods(world, installed))
    return found


def one_run(world: World, source: dict[str, Any], name: str) -> dict[str, float]:
    """Measure one FlowRun: created → children, → first task running; finished → nothing left."""
    body = FlowRun(name=name, flow={"entrypoint": "starts.py:first", "source": source}, workers=WORKERS).body()
    seen = Appearance(world)
    started = time.time()
    world.create(body)
    children = seen.wait() - started
    status = wait_until(lambda: finished(world.status(name)), f"{name} is finished", 120)
    over = time.monotonic()
    wait_until(lambda: not world.everything(), f"nothing of {name} is left", 60)
    gone = time.monotonic() - over
    return {"children": children, "first task": json.loads(status["flow"]["result"])["first"] - started, "gone": gone}


def finished(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a run that has succeeded, or an empty one before its end. End the bench if it failed."""
    done = any(item["type"] == "Finished" and item["status"] == "True" for item in status.get("conditions", []))
    if done and "result" not in status.get("flow", {}):
        raise SystemExit(f"the bench's run failed: {status.get('message')}")
    return status if done else {}


class Appearance:
    """The times at which the first DaskCluster and the first Job of a namespace appear, by watches that already run."""

    def __init__(self, world: World) -> None:
        custom = client.CustomObjectsApi(world.core.api_client)
        dask = ("kubernetes.dask.org", "v1", world.namespace, "daskclusters")
        self._times: list[float] = []
        self._threads = [
            threading.Thread(target=self._see, args=(custom.list_namespaced_custom_object, *dask)),
            threading.Thread(target=self._see, args=(world.batch.list_namespaced_job, world.namespace)),
        ]
        for thread in self._threads:
            thread.start()

    def _see(self, function: Any, *args: str) -> None:
        for _ in watch.Watch().stream(function, *args, timeout_seconds=30):
            self._times.append(time.time())
            return

    def wait(self) -> float:
        """Wait for both, and return the time."""
        for thread in self._threads:
            thread.join()
        return max(self._times)


def bare_pods(world: World, installed: Installed) -> float:
    """Return the seconds from the creation of the same scheduler and workers as plain pods until all are Ready."""
    built = by_hand.plain_cluster(world.namespace, installed.images["runtime"], WORKERS)["spec"]
    scheduler, worker = built["scheduler"], built["worker"]
    labels = {"app": "bare-scheduler"}
    address = {"name": "DASK_SCHEDULER_ADDRESS", "value": f"tcp://bare.{world.namespace}.svc.cluster.local:8786"}
    started = time.monotonic()
    service = {"metadata": {"name": "bare"}, "spec": scheduler["service"] | {"selector": labels}}
    world.core.create_namespaced_service(world.namespace, service)
    world.core.create_namespaced_pod(
        world.namespace, {"metadata": {"name": "bare-scheduler", "labels": labels}, "spec": scheduler["spec"]}
    )
    for number in range(WORKERS):
        name = f"bare-worker-{number}"
        (container,) = worker["spec"]["containers"]
        container = {**container, "env": [address, {"name": "DASK_WORKER_NAME", "value": name}]}
        pod = {"metadata": {"name": name}, "spec": {**worker["spec"], "containers": [container]}}
        world.core.create_namespaced_pod(world.namespace, pod)
    wait_until(lambda: sum(map(_ready, world.pods())) == WORKERS + 1, "the bare pods are Ready", 60)
    took = time.monotonic() - started
    for pod in world.pods():
        world.core.delete_namespaced_pod(pod.metadata.name, world.namespace, grace_period_seconds=0)
    world.core.delete_namespaced_service("bare", world.namespace)
    wait_until(lambda: not world.everything(), "the bare pods are gone", 60)
    return took


def _ready(pod: Any) -> bool:
    return any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or [])


def imports(world: World) -> dict[str, float]:
    """Return the seconds of a driver before its flow: from process start to flow, and the import of distributed."""
    flow = {"entrypoint": "starts.py:imports", "source": world.code(FLOWS)}
    world.create(FlowRun(name="imports", flow=flow, workers=None).body())
    status = world.wait_phase("imports", "Succeeded", "Failed")
    found: dict[str, float] = json.loads(status["flow"]["result"])
    return found


def report(found: dict[str, list[float]], importing: dict[str, float]) -> None:
    """Print the table."""
    median = {name: statistics.median(values) for name, values in found.items()}
    own = importing["process"] + importing["distributed"]
    bound = 1.5 * median["bare pods"] + own
    print(f"FlowRun created → DaskCluster and Job created   {median['children'] * 1000:7.0f} ms  (bound 300)")
    print(f"bare scheduler and {WORKERS} workers → all Ready         {median['bare pods']:7.2f} s")
    print(f"the driver's own start and imports              {own:7.2f} s")
    print(f"FlowRun created → first task running            {median['first task']:7.2f} s   (bound {bound:.2f})")
    print(f"   ratio to bare pods, driver's imports apart   {(median['first task'] - own) / median['bare pods']:7.2f}")
    print(f"run finished → nothing left                     {median['gone']:7.2f} s   (bound 5)")
    last = sorted(found["gone"])[min(len(found["gone"]) - 1, round(0.99 * len(found["gone"])))]
    print(f"   p99 of {len(found['gone'])} runs                                {last:7.2f} s   (bound 10)")


if __name__ == "__main__":
    main()

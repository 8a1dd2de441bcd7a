"""The soak's trials on Ray clusters, like those on Dask clusters. A count called LOST is a failure."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from tests.bench import soak_trials
from tests.bench.soak_driver import ON_RAY
from tests.bench.soak_rig import Rig
from tests.support.waiting import wait_until
from tests.support.world import scale
from tools.install import RELEASE
from tools.kuberay import NAME as KUBERAY

#: Two at a time: a head uses the CPUs as long as three schedulers.
killed = functools.partial(soak_trials.killed, program=ON_RAY, at_once=2)
stopped = functools.partial(soak_trials.stopped, program=ON_RAY, at_once=2)

#: A program with a flow of some tasks of some seconds each. It prints how many results were right.
PROGRAM = """
import json, sys, time
from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner

count, seconds, workers, adapts = json.loads(sys.argv[2])
bounds = {"adapt_kwargs": {"minimum": 0, "maximum": workers}} if adapts else {}
kwargs = {"namespace": sys.argv[1], **({} if adapts else {"n_workers": workers})}
runner = RayTaskRunner(cluster_class="flowcluster.clusters.RayKubernetesCluster", cluster_kwargs=kwargs, **bounds)

@task(retries=10)
def square(number):
    time.sleep(seconds)
    return number * number

@flow(task_runner=runner)
def squares():
    futures = square.map(range(count))
    print("submitted", flush=True)
    return [future.result() for future in futures]

print(sum(found == number * number for number, found in enumerate(squares())), flush=True)
"""


def program(rig: Rig, *arguments: Any) -> subprocess.Popen[str]:
    """Start it, and wait until its tasks are submitted."""
    environment = {**os.environ, "KUBECONFIG": str(rig.installed.kubeconfig)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, rig.world.namespace, json.dumps(arguments)]
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "submitted\n", "the flow got no cluster"
    return process


def right(process: subprocess.Popen[str], seconds: float) -> int:
    """Wait for the end of the program, and return how many results were right. Fail if it does not end in time."""
    try:
        printed, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("it hangs") from None
    return int(printed.splitlines()[-1]) if process.returncode == 0 else 0


def workers_killed(rig: Rig, seconds: int) -> Counter[str]:
    """Kill worker pods at random under tasks with retries: all results are right, and nothing hangs."""
    counts: Counter[str] = Counter()
    tasks = 2 * seconds
    process = program(rig, tasks, 1.0, 2, False)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(rig.chance.uniform(10, 20))
        if pods := rig.workers():
            victim = rig.chance.choice(pods).metadata.name
            rig.world.core.delete_namespaced_pod(victim, rig.world.namespace, grace_period_seconds=0)
            counts["killed"] += 1
    counts["right"] = right(process, 4 * seconds + 60)
    rig.nothing_left(30)
    if counts["right"] != tasks:
        counts["LOST"] += tasks - counts["right"]
    return counts


def operators_away(rig: Rig, times: int) -> Counter[str]:
    """Remove our operator, or KubeRay, while a cluster scales and ends: all of it is done later."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        for deployment in (RELEASE, KUBERAY):
            process = program(rig, 8, 1.0, 2, True)
            with rig.away(deployment):
                time.sleep(rig.chance.uniform(0, 5))
            wait_until(rig.workers, "it grew", 90)
            counts["right"] += right(process, 120)
            rig.kill(deployment)
            scale(rig.system, deployment, 1)
            rig.nothing_left(90)
            counts["rounds"] += 1
    if counts["right"] != 8 * counts["rounds"]:
        counts["LOST"] += 1
    return counts

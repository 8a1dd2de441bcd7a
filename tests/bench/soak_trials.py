"""The soak's trials: each breaks something that many times, and counts. A count called LOST is a failure."""

from __future__ import annotations

import functools
import itertools
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from distributed import Client, wait

from tests.bench.soak_driver import ON_DASK, SECONDS
from tests.bench.soak_rig import Rig
from tests.support.waiting import wait_until
from tests.support.world import scale
from tools.install import RELEASE, UPSTREAM


def killed(rig: Rig, times: int, program: str = ON_DASK, at_once: int = 4) -> Counter[str]:
    """Kill drivers at random moments, half of them with their agents: nothing is left in time."""
    counts: Counter[str] = Counter()
    for _ in batches(times, at_once):
        drivers = [rig.driver(program) for _ in range(at_once)]
        for driver in drivers:
            time.sleep(rig.chance.uniform(0, 12 / at_once))
            with_agent = rig.chance.random() < 0.5
            counts["with agent" if with_agent else "alone"] += 1
            driver.kill(with_agent)
        rig.nothing_left(SECONDS + 10)
    return counts


def stopped(rig: Rig, times: int, program: str = ON_DASK, at_once: int = 4) -> Counter[str]:
    """Stop drivers for 0.8 of their lease: each keeps its cluster."""
    counts: Counter[str] = Counter()
    for _ in batches(times, at_once):
        drivers = [rig.driver(program) for _ in range(at_once)]
        for driver in drivers:
            driver.until_connected()
            driver.send(signal.SIGSTOP)
        time.sleep(0.8 * SECONDS)
        for driver in drivers:
            driver.send(signal.SIGCONT)
            counts["kept" if driver.answers() else "LOST"] += 1
            driver.kill(with_agent=False)
        rig.nothing_left(SECONDS + 10)
    return counts


def square_wave(rig: Rig, times: int) -> Counter[str]:
    """Scale up and down repeatedly: every result is right, no task runs twice, and no direction changes in between."""
    counts: Counter[str] = Counter()
    with rig.cluster() as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=3, idle=1, down_delay=1)
        held = client.submit(lambda: "held", key="held")
        for number in range(times):
            futures = client.map(_nap, [(number, index) for index in range(6)], pure=False)
            seen = watch_workers(rig, functools.partial(all_done, futures), 90)
            counts["right results"] += client.gather(futures) == [(number, index) for index in range(6)]
            del futures
            seen += watch_workers(rig, lambda: len(rig.workers()) <= 1, 60)
            counts["cycles"] += 1
            counts["direction changes"] += direction_changes(seen)
        counts["held results kept"] += held.result(30) == "held"
    rig.nothing_left(30)
    if counts["right results"] != times or counts["held results kept"] != 1 or counts["direction changes"] > times:
        counts["LOST"] += 1
    return counts


def workers_killed(rig: Rig, seconds: int) -> Counter[str]:
    """Kill worker pods at random under 2,000 tasks whose results stay on workers: results are right, nothing hangs."""
    counts: Counter[str] = Counter()
    tasks = 2000 * seconds // 300
    with rig.cluster(n_workers=3) as cluster, Client(cluster) as client:
        futures = client.map(_slow_square, range(tasks), pure=False, retries=10)
        deadline = time.monotonic() + 4 * seconds
        while not all_done(futures):
            if time.monotonic() > deadline:
                raise AssertionError("it hangs")
            time.sleep(rig.chance.uniform(5, 15))
            if (pods := rig.workers()) and counts["killed"] < seconds // 15:
                victim = rig.chance.choice(pods).metadata.name
                rig.world.core.delete_namespaced_pod(victim, rig.world.namespace, grace_period_seconds=0)
                counts["killed"] += 1
        counts["right"] += client.gather(futures) == [number * number for number in range(tasks)]
    rig.nothing_left(30)
    if not counts["right"]:
        counts["LOST"] += 1
    return counts


def operators_away(rig: Rig, times: int) -> Counter[str]:
    """Remove our operator, or dask-kubernetes, while a cluster scales and ends: all of it is done later."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        for deployment in (RELEASE, UPSTREAM):
            with rig.cluster(n_workers=1) as cluster, Client(cluster) as client:
                kept = client.map(lambda number: number + 1, range(20))
                with rig.away(deployment):
                    cluster.scale(3)
                wait_until(lambda: len(rig.workers()) == 3, "it grew", 60)
                cluster.wait_for_workers(3, 60)
                wait(kept, 60)
                with rig.away(deployment):
                    cluster.scale(1)
                wait_until(lambda: len(rig.workers()) == 1, "it shrank", 60)
                counts["results kept"] += sum(client.gather(kept)) == sum(range(1, 21))
                rig.kill(deployment)
            scale(rig.system, deployment, 1)
            rig.nothing_left(90)
            counts["rounds"] += 1
    if counts["results kept"] != counts["rounds"]:
        counts["LOST"] += 1
    return counts


def too_many(rig: Rig, times: int) -> Counter[str]:
    """Request more workers than the node can hold: those that fit work, and the status names the missing resource."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        with rig.cluster(resources={"requests": {"cpu": "600m"}}) as cluster, Client(cluster) as client:
            cluster.adapt(minimum=0, maximum=8, idle=1)
            futures = client.map(_nap, range(24), pure=False)
            counts["cause in the status"] += wait_until(
                lambda: "Unschedulable" in str(rig.world.status(cluster.name)), "the status has the cause", 60
            )
            counts["right results"] += client.gather(futures) == list(range(24))
        rig.nothing_left(30)
    if counts["right results"] != times:
        counts["LOST"] += 1
    return counts


def api_server_restarted(rig: Rig, times: int) -> Counter[str]:
    """Restart the API server under a cluster: its computations and held results stay."""
    counts: Counter[str] = Counter()
    with rig.cluster(n_workers=2, lease_duration_seconds=SECONDS) as cluster, Client(cluster) as client:
        held = client.submit(lambda: "held", key="held")
        for number in range(times):
            futures = client.map(_nap, [(number, index) for index in range(10)], pure=False)
            subprocess.run([sys.executable, "-m", "tools.cluster", "restart", "kube-apiserver"], check=True)
            counts["right results"] += client.gather(futures) == [(number, index) for index in range(10)]
            wait_until(lambda: rig.world.status(cluster.name).get("phase") == "Running", "the run goes on", 60)
            counts["restarts"] += 1
        counts["held results kept"] += held.result(30) == "held"
    rig.nothing_left(60)
    if counts["right results"] != times or counts["held results kept"] != 1:
        counts["LOST"] += 1
    return counts


def _nap(value: Any) -> Any:
    time.sleep(1)
    return value


def _slow_square(number: int) -> int:
    time.sleep(0.4)
    return number * number


# Sent with their code: workers do not have this module.
_nap.__module__ = _slow_square.__module__ = "__main__"


def all_done(futures: list[Any]) -> bool:
    """Return whether all of these have ended."""
    return all(future.done() for future in futures)


def watch_workers(rig: Rig, is_over: Callable[[], bool], seconds: float) -> list[int]:
    """Return the sequence of numbers of workers until `is_over`."""
    seen = [len(rig.workers())]

    def look() -> bool:
        if (number := len(rig.workers())) != seen[-1]:
            seen.append(number)
        return is_over()

    wait_until(look, "the half-period is over", seconds, every=0.2)
    return seen


def direction_changes(seen: list[int]) -> int:
    """Return how often a scale up was followed by a scale down or the other way round."""
    steps = [after > before for before, after in itertools.pairwise(seen) if after != before]
    return sum(one != other for one, other in itertools.pairwise(steps))


def batches(times: int, size: int) -> range:
    """Return the starts of the batches of that size."""
    return range(-(-times // size))

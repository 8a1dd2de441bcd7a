"""What clusters from Python withstand, in large numbers: ``python -m tests.bench.soak [--quick] [--only NAMES]``.

Each trial breaks something on purpose and counts; what the API server lists and what tasks give is what is judged. The
full size takes about an hour. A Kubernetes is brought up and the chart installed; the namespace is the soak's own.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, wait

from flowcluster.clusters import DaskKubernetesCluster
from tests.bench.soak_driver import SECONDS, Driver
from tests.support.waiting import wait_until
from tests.support.world import World, scale
from tools.install import RELEASE, SYSTEM, Installed, install

#: Deployment of the stock operator that the chart brings along.
UPSTREAM = f"{RELEASE}-dask-kubernetes-operator"


@dataclasses.dataclass
class Rig:
    """Where trials happen, and their random numbers, which `--seed` repeats."""

    installed: Installed
    world: World
    system: World
    chance: random.Random

    def driver(self) -> Driver:
        """A process with a cluster of its own."""
        return Driver(str(self.installed.kubeconfig), self.world.namespace)

    def cluster(self, **more: Any) -> DaskKubernetesCluster:
        """A cluster of this process."""
        kubeconfig = str(self.installed.kubeconfig)
        return DaskKubernetesCluster(kubeconfig=kubeconfig, namespace=self.world.namespace, **more)

    def workers(self) -> list[Any]:
        """Pods of workers that are to stay."""
        return [pod for pod in self.world.pods("worker") if pod.metadata.deletion_timestamp is None]

    def nothing_left(self, seconds: float) -> None:
        """Fails unless everything is gone in time."""
        wait_until(lambda: not self.world.everything(), f"nothing is left: {self.world.everything()}", seconds)

    @contextmanager
    def away(self, deployment: str) -> Iterator[None]:
        """An operator is scaled to zero for the time of the block."""
        scale(self.system, deployment, 0)
        try:
            yield
        finally:
            scale(self.system, deployment, 1)


def killed(rig: Rig, times: int) -> Counter[str]:
    """Drivers that are killed at random moments, half of them with their agents: nothing is left in time."""
    counts: Counter[str] = Counter()
    for _ in batches(times, 4):
        drivers = [rig.driver() for _ in range(4)]
        for driver in drivers:
            time.sleep(rig.chance.uniform(0, 3))
            with_agent = rig.chance.random() < 0.5
            counts["with agent" if with_agent else "alone"] += 1
            driver.kill(with_agent)
        rig.nothing_left(SECONDS + 10)
    return counts


def stopped(rig: Rig, times: int) -> Counter[str]:
    """Drivers that are stopped for 0.8 of their lease: each keeps its cluster."""
    counts: Counter[str] = Counter()
    for _ in batches(times, 4):
        drivers = [rig.driver() for _ in range(4)]
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
    """Up and down again and again: every result is right, no task ran twice, no direction changes in between."""
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
    """Worker pods that are killed at random under 2,000 tasks whose results stay on workers: right results, no hang."""
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
    """Our operator, or dask-kubernetes, is away while a cluster grows, shrinks and goes: later it did all of it."""
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
                scale(rig.system, deployment, 0)
            scale(rig.system, deployment, 1)
            rig.nothing_left(90)
            counts["rounds"] += 1
    if counts["results kept"] != counts["rounds"]:
        counts["LOST"] += 1
    return counts


def too_many(rig: Rig, times: int) -> Counter[str]:
    """More workers are asked for than the node can hold: what fits works, and the status says what lacks."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        with rig.cluster(resources={"requests": {"cpu": "600m"}}) as cluster, Client(cluster) as client:
            cluster.adapt(minimum=0, maximum=8, idle=1)
            futures = client.map(_nap, range(24), pure=False)
            said = wait_until(lambda: "Unschedulable" in str(rig.world.status(cluster.name)), "it is told", 60)
            counts["told"] += said
            counts["right results"] += client.gather(futures) == list(range(24))
        rig.nothing_left(30)
    if counts["right results"] != times:
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
    """Whether each of these has ended."""
    return all(future.done() for future in futures)


def watch_workers(rig: Rig, is_over: Callable[[], bool], seconds: float) -> list[int]:
    """Numbers of workers, as they followed one another until `is_over`."""
    seen = [len(rig.workers())]

    def look() -> bool:
        if (number := len(rig.workers())) != seen[-1]:
            seen.append(number)
        return is_over()

    wait_until(look, "the half-period is over", seconds, every=0.2)
    return seen


def direction_changes(seen: list[int]) -> int:
    """How often growing turned into shrinking or the other way round."""
    steps = [after > before for before, after in itertools.pairwise(seen) if after != before]
    return sum(one != other for one, other in itertools.pairwise(steps))


def batches(times: int, size: int) -> range:
    """As many batches of that size as it takes."""
    return range(-(-times // size))


#: Each trial with its full size, and the size for ``--quick``.
TRIALS: dict[str, tuple[Callable[[Rig, int], Counter[str]], int, int]] = {
    "killed": (killed, 50, 4),
    "stopped": (stopped, 20, 4),
    "square_wave": (square_wave, 30, 2),
    "workers_killed": (workers_killed, 300, 30),
    "operators_away": (operators_away, 3, 1),
    "too_many": (too_many, 3, 1),
}


def main() -> int:
    """Run the trials and print their counts; 1 if something was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes: shows that the script works")
    parser.add_argument("--only", default=",".join(TRIALS), help=f"some of {','.join(TRIALS)}")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    chosen = parser.parse_args()
    installed = install()
    world = World(installed.kubeconfig, f"soak-{secrets.token_hex(3)}")
    rig = Rig(installed, world, World(installed.kubeconfig, SYSTEM), random.Random(chosen.seed))
    world.create_namespace()
    failed = 0
    try:
        print(f"seed {chosen.seed}", flush=True)
        for name in chosen.only.split(","):
            trial, full, quick = TRIALS[name]
            began = time.monotonic()
            try:
                counts = trial(rig, quick if chosen.quick else full)
            except AssertionError as error:
                counts = Counter({f"FAILED: {error}": 1})
            failed += any(key.startswith(("LOST", "FAILED")) for key in counts)
            told = ", ".join(f"{key} {count}" for key, count in counts.items())
            print(f"{name:15} {time.monotonic() - began:5.0f} s  {told}", flush=True)
    finally:
        world.delete_namespace()
        world.close()
        rig.system.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

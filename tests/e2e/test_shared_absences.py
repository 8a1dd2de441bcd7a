"""Shared clusters while the operator or the upstream operators are away: runs work, and scaling is delayed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, Event

from flowcluster.clusters import SharedKubernetesCluster
from tests.support.shared_clusters import by_reference, shared_cluster
from tests.support.waiting import wait_until
from tests.support.world import World, scale
from tools import kuberay
from tools.install import RELEASE, SYSTEM, UPSTREAM, Installed

pytestmark = [
    pytest.mark.long,
    pytest.mark.alone,
    pytest.mark.timeout(400),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

#: Seconds without the operator: more than a Lease lasts, than a keeper can be silent, and than the operator waits for
#: upstream operators, which are 60 s each. The SDK waits for an operator for 360 s
#: (``tests/unit/sdk/test_sdk_starting.py``).
AWAY_SECONDS = 75


@contextlib.contextmanager
def away(installed: Installed, *deployments: str) -> Iterator[None]:
    """In the block, these Deployments of operators have no pods."""
    system = World(installed.kubeconfig, SYSTEM)
    try:
        for name in deployments:
            scale(system, name, 0)
        yield
    finally:
        for name in deployments:
            scale(system, name, 1)
        system.close()


def hold(number: int) -> int:
    Event("released").wait()
    return number


# The workers do not have this module.
hold.__module__ = "__main__"


def test_runs_start_and_end_while_the_operator_is_away(
    world: World, where: dict[str, Any], installed: Installed
) -> None:
    results: list[int] = []

    def program() -> None:
        with SharedKubernetesCluster("team", **where) as cluster, Client(cluster, set_as_default=False) as client:
            results.append(client.submit(sum, [1, 2]).result(90))

    comes = threading.Thread(target=program)
    with shared_cluster(world, "Dask", workers={"minimum": 1, "maximum": 3, "threads": 2}) as clusters:
        scheduler = clusters.scheduler("team")
        by_reference(world, "goes", "annotated.py:echoes", parameters={"value": 4})
        world.wait_phase("goes", "Running", seconds=90)
        with (
            SharedKubernetesCluster("team", **where) as stays,
            Client(stays) as client,
            SharedKubernetesCluster("team", **where) as leaves,
        ):
            with away(installed, RELEASE):
                began = time.monotonic()
                known = {run["metadata"]["name"] for run in world.runs()}
                comes.start()
                by_reference(world, "comes", "outcomes.py:good", parameters={"x": 21})
                wait_until(lambda: len(world.runs()) == len(known) + 2, "two more runs wait")
                assert client.submit(sum, [3, 4]).result(60) == 7
                leaves.close()
                world.annotate("goes", "end")
                wait_until(
                    lambda: [pod for pod in world.pods("driver") if pod.status.phase == "Succeeded"], "goes is done"
                )
                held = client.map(hold, range(8), pure=False)
                wait_until(lambda: time.monotonic() - began > AWAY_SECONDS, "the operator is away for long", 120)
                assert world.live_workers() == 1
            wait_until(lambda: world.live_workers() == 3, "scaling has caught up", 60)
            Event("released", client=client).set()
            assert client.gather(held) == list(range(8))
            for name, result in (("goes", "4.0"), ("comes", "42")):
                status = world.wait_phase(name, "Succeeded", "Failed", seconds=120)
                assert (status["phase"], status["flow"]["result"]) == ("Succeeded", result), status["message"]
            assert world.wait_phase(leaves.name, "Succeeded", "Failed")["phase"] == "Succeeded"
            comes.join(120)
            assert results == [3]
            assert (clusters.scheduler("team"), clusters.status("team").get("restarts", 0)) == (scheduler, 0)
            del held
            wait_until(lambda: world.live_workers() == 1, "the other workers are gone", 60)


def test_runs_continue_and_clusters_scale_when_the_upstream_operators_restart(
    world: World, installed: Installed
) -> None:
    with (
        shared_cluster(world, "Dask", "dask", workers={"minimum": 1, "maximum": 3}) as clusters,
        shared_cluster(world, "Ray", "ray", workers={"minimum": 1, "maximum": 1}),
    ):
        before = clusters.scheduler("dask"), clusters.scheduler("ray")
        by_reference(world, "wave", "annotated.py:wave", cluster="dask")
        by_reference(world, "later", "annotated.py:later", cluster="ray")
        for name in ("wave", "later"):
            world.wait_phase(name, "Running", seconds=120)
        with away(installed, UPSTREAM, kuberay.NAME):
            world.annotate("wave", "work")
            world.annotate("later", "work")
            status = world.wait_phase("later", "Succeeded", "Failed", seconds=120)
            assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "1"), status["message"]
            by_reference(world, "new", "outcomes.py:good", cluster="ray", parameters={"x": 21})
            assert world.wait_phase("new", "Succeeded", "Failed", seconds=120)["phase"] == "Succeeded"
        wait_until(lambda: world.live_workers() == 4, "three workers of Dask, and the one of Ray", 90)
        world.annotate("wave", "release")
        world.annotate("wave", "end")
        status = world.wait_phase("wave", "Succeeded", "Failed", seconds=90)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "[0,1,2,3,4,5]"), status["message"]
        wait_until(lambda: world.live_workers() == 2, "the other workers are gone", 60)
        assert (clusters.scheduler("dask"), clusters.scheduler("ray")) == before
        assert [clusters.status(name).get("restarts", 0) for name in ("dask", "ray")] == [0, 0]

"""Clusters scale up with the work, and down without loss. The API server lists the workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client, Event, wait

from flowcluster.clusters import DaskKubernetesCluster
from tests.support.waiting import wait_until
from tests.support.world import ROOT, World

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]


def test_workers_scale_with_the_work(world: World, where: dict[str, Any]) -> None:
    """They scale from zero to as many as the work needs in one step, and back, and keep the results."""

    def hold(number: int) -> int:
        Event("released").wait()
        return number

    with DaskKubernetesCluster(**where) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=3, idle=1, down_delay=1)
        assert world.live_workers() == 0
        futures = client.map(hold, range(6), pure=False)
        seen: list[int] = []

        def all_there() -> bool:
            seen.append(world.live_workers())
            return seen[-1] == 3

        wait_until(all_there, "three workers were requested", 60)
        assert set(seen) <= {0, 1, 2, 3}
        cluster.wait_for_workers(3, 60)
        Event("released", client=client).set()
        wait(futures, 90)
        # One worker has to keep the results, which are not fetched yet.
        wait_until(lambda: world.live_workers() == 1, "the others are gone", 30)
        assert client.gather(futures) == list(range(6))
        del futures
        wait_until(lambda: world.live_workers() == 0, "all are gone", 30)
        assert client.submit(sum, [1, 2]).result(60) == 3


def test_scale_and_adapt_alternate(world: World, where: dict[str, Any]) -> None:
    """`scale(n)` holds until `adapt()`, and the other way round. A scale down loses no result."""
    with DaskKubernetesCluster(n_workers=1, **where) as cluster, Client(cluster) as client:
        cluster.scale(3)
        wait_until(lambda: world.live_workers() == 3, "three workers", 30)
        cluster.wait_for_workers(3, 60)
        kept = client.map(lambda number: number * number, range(30), pure=False)
        wait(kept, 60)
        cluster.scale(1)
        wait_until(lambda: world.live_workers() == 1, "one worker", 30)
        assert client.gather(kept) == [number * number for number in range(30)]
        cluster.adapt(minimum=2, maximum=2)
        wait_until(lambda: world.live_workers() == 2, "two workers", 30)
        cluster.scale(3)
        wait_until(lambda: world.live_workers() == 3, "three workers", 30)


def test_example_scales_and_prints_its_sum(world: World, where: dict[str, Any], tmp_path: Path) -> None:
    """In an empty directory it scales from zero to four workers and back, and prints its sum."""
    shutil.copy(ROOT / "examples" / "adaptive_dask.py", tmp_path)
    config = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    config["contexts"][0]["context"]["namespace"] = world.namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [sys.executable, "adaptive_dask.py"],
        cwd=tmp_path,
        env={**os.environ, "KUBECONFIG": "kubeconfig"},
        stdout=subprocess.PIPE,
        text=True,
    )
    most = 0

    def has_ended() -> bool:
        nonlocal most
        most = max(most, world.live_workers())
        return process.poll() is not None

    try:
        wait_until(has_ended, "it has ended", 120, every=0.2)
    finally:
        process.kill()
        printed, _ = process.communicate()
    assert printed == "140\n"
    assert most == 4

"""The writes to the API server for a run without events: ``python -m tests.bench.steady_writes [--seconds N]``.

There are two runs, one whose driver is this process and one whose driver is a pod, each with an idle worker. All
changes of objects in their namespace are counted by watches. A Kubernetes is brought up and the chart installed. The
bench has a namespace of its own.
"""

from __future__ import annotations

import argparse
import secrets
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from kubernetes import client, watch

from flowcluster.clusters import DaskKubernetesCluster
from flowcluster_api import names
from tests.bench.common import Table, expect_other_patch_release
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World
from tools.install import install

ONE = {"kind": "Dask", "workers": {"minimum": 1, "maximum": 2}}


def changes(world: World, seconds: int) -> Counter[str]:
    """Return the changes of objects of each kind in the namespace, in that many seconds."""
    counts: Counter[str] = Counter()
    custom = client.CustomObjectsApi(world.api)
    kinds: dict[str, tuple[Any, tuple[str, ...]]] = {
        "FlowRun": (custom.list_namespaced_custom_object, (names.GROUP, names.VERSION, world.namespace, names.PLURAL)),
        "DaskCluster": (
            custom.list_namespaced_custom_object,
            ("kubernetes.dask.org", "v1", world.namespace, "daskclusters"),
        ),
        "Lease": (client.CoordinationV1Api(world.api).list_namespaced_lease, (world.namespace,)),
        "Deployment": (world.apps.list_namespaced_deployment, (world.namespace,)),
        "Event": (world.core.list_namespaced_event, (world.namespace,)),
        "Pod": (world.core.list_namespaced_pod, (world.namespace,)),
    }

    def count(kind: str) -> None:
        listing, arguments = kinds[kind]
        found = client.ApiClient().sanitize_for_serialization(listing(*arguments))
        since = found["metadata"]["resourceVersion"]
        for _ in watch.Watch().stream(listing, *arguments, resource_version=since, timeout_seconds=seconds):
            counts[kind] += 1

    threads = [threading.Thread(target=count, args=[kind]) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def here(world: World, kubeconfig: Path, seconds: int) -> Counter[str]:
    """Return the changes of a run whose driver is this process."""
    place: Any = {"kubeconfig": str(kubeconfig), "namespace": world.namespace}
    with DaskKubernetesCluster(**place) as cluster:
        cluster.adapt(minimum=1, maximum=2)
        return steady(world, seconds)


def in_a_pod(world: World, _: Path, seconds: int) -> Counter[str]:
    """Return the changes of a run whose driver the operator started."""
    world.create(FlowRun("waits", world.flow("endless.py:waits"), None, {"cluster": ONE}).body())
    return steady(world, seconds)


def steady(world: World, seconds: int) -> Counter[str]:
    """Return the changes once the run is Running and its start is over."""
    wait_until(lambda: world.status(world.runs()[0]["metadata"]["name"]).get("phase") == "Running", "it runs", 90)
    wait_until(lambda: world.holder(world.runs()[0]["metadata"]["name"]), "its driver renews the Lease", 60)
    changes(world, 15)
    return changes(world, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    expect_other_patch_release()
    kubeconfig = install().kubeconfig
    table = Table(f"Changes of objects in {seconds} s of a run without events")
    for what, measure in (("driver here", here), ("driver in a pod", in_a_pod)):
        world = World(kubeconfig, f"bench-{secrets.token_hex(3)}")
        world.create_namespace()
        try:
            counts = measure(world, kubeconfig, seconds)
        finally:
            world.delete_namespace()
            world.close()
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "none"
        table.row(f"{what}, in 10 s ({kinds} in all)", 10 * counts.total() / seconds, "", 1)
    table.finish()


if __name__ == "__main__":
    main()

"""The cost of this operator, compared with KubeRay, for a run on Ray: ``python -m tests.bench.ray_cost [--runs N]``.

It prints CPU and memory of both operators' pods, as the kubelet measures them, and the requests to the API server of
one run. A proxy counts them, before an operator that runs here for that time. The driver's agent is not included: it
costs the run's pod CPU and memory, and one write in ten seconds (`tests.bench.steady_writes`). A Kubernetes is brought
up and the chart installed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.common import Table
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_until
from tests.support.world import Body, FlowRun, World, scale
from tools.install import RELEASE, SYSTEM, Installed, install
from tools.kuberay import NAME as KUBERAY

CODE = Path(__file__).with_name("flows") / "doubles.py"


class Usage(NamedTuple):
    """Usage of a pod: CPU in seconds since its start, memory in MiB now."""

    cpu: float
    memory: float


def usages(world: World) -> dict[str, Usage]:
    """Return the usage of both operators, measured after the start of this call."""
    began = dt.datetime.now(dt.UTC)
    return wait_until(lambda: _reported(world, began), "the kubelets have measured again", 90, every=1)


def _reported(world: World, since: dt.datetime) -> dict[str, Usage]:
    found = {}
    for node in world.core.list_node().items:
        text = world.core.connect_get_node_proxy_with_path(node.metadata.name, "stats/summary", _preload_content=False)
        for pod in json.loads(text.data)["pods"]:
            name = pod["podRef"]["name"]
            which = next((one for one in (KUBERAY, RELEASE) if _is_of(name, one)), None)
            if which is None or pod["podRef"]["namespace"] != SYSTEM:
                continue
            if dt.datetime.fromisoformat(pod["cpu"]["time"]) < since:
                return {}
            found[which] = Usage(pod["cpu"]["usageCoreNanoSeconds"] / 1e9, pod["memory"]["workingSetBytes"] / 2**20)
    return found


def _is_of(pod: str, deployment: str) -> bool:
    return pod.rsplit("-", 2)[0] == deployment


def go_through(world: World, source: Body, name: str) -> None:
    """Create a run, and wait until it is over and nothing of it is left."""
    flow = {"entrypoint": "doubles.py:doubles", "source": source}
    world.create(FlowRun(name, flow, None, {"cluster": {"kind": "Ray", "workers": {"minimum": 1}}}).body())
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=180)
    assert status["phase"] == "Succeeded", status
    world.wait_empty(30)


def requests(world: World, installed: Installed, source: Body) -> Counter[str]:
    """Return the requests of one run by verb, without those of the operator's start."""
    system = World(installed.kubeconfig, SYSTEM)
    scale(system, RELEASE, 0)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            OperatorProcess(Path(folder), installed.kubeconfig, world.namespace, installed.images["runtime"]) as one,
        ):
            settled = _until_quiet(one)
            go_through(world, source, "counted")
            return Counter(line.split(" ", 1)[0] for line in one.requests()[settled:])
    finally:
        scale(system, RELEASE, 1)
        system.close()


def _until_quiet(operator: OperatorProcess) -> int:
    """Wait until there is no request for two seconds, and return the number of requests."""
    seen: dict[str, Any] = {"count": -1, "since": time.monotonic()}

    def is_quiet() -> bool:
        count = len(operator.requests())
        if count != seen["count"]:
            seen.update(count=count, since=time.monotonic())
        return count > 0 and time.monotonic() - seen["since"] > 2

    wait_until(is_quiet, "the operator has started", 60)
    return int(seen["count"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    installed = install()
    world = World(installed.kubeconfig, f"bench-{secrets.token_hex(3)}")
    world.create_namespace()
    try:
        source = world.code(CODE)
        before = usages(world)
        for number in range(runs):
            sys.stderr.write(f"run {number + 1} of {runs}\n")
            go_through(world, source, f"run-{number}")
        after = usages(world)
        counts = requests(world, installed, source)
    finally:
        world.delete_namespace()
        world.close()
    table = Table("A run on Ray costs")
    for name, what in ((RELEASE, "this operator"), (KUBERAY, "KubeRay")):
        table.row(f"{what}: CPU for one run", (after[name].cpu - before[name].cpu) / runs, "s")
        table.row(f"{what}: memory", after[name].memory, "MiB", digits=0)
    verbs = ", ".join(f"{verb} {count}" for verb, count in sorted(counts.items()))
    table.row(f"this operator: requests for one run ({verbs})", counts.total(), "", digits=0)
    table.finish()


if __name__ == "__main__":
    main()

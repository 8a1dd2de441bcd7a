"""Time many simultaneous runs, beside the upstream operator, on the rig: ``python -m tests.bench.many_runs``.

The same clusters are created twice on one rig: first as cluster resources for the upstream operator, then by
as many FlowRuns, each with a driver. No container runs, so that only control planes are measured. Our operator
connects to the API server itself, as in production. Its writes are counted in a third phase, behind a proxy.
Each figure is printed with its bound. The ratio is the important figure: other load slows both phases down.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import pathlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from flowcluster_api import names
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from flowcluster_operator.timestamps import parse_time
from tests.support.chaos import played
from tests.support.rig.client import Body
from tests.support.rig.faults import UNDISTURBED
from tests.support.rig.kinds import CLUSTERS, FLOW_RUN
from tests.support.rig.ledger import View
from tests.support.rig.operator import SETTINGS, RigOperator
from tests.support.rig.process import Child, CpuAndMemory
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until
from tests.support.world import ROOT

#: Environment variable with the checkout whose operator is measured; by default this one.
_ENV_TREE = "FLOWCLUSTER_RIG_OPERATOR"
_WORKERS = 2
_UPSTREAM = {"Dask": "dask-kubernetes", "Ray": "kuberay"}
_AT_A_TIME = 16
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="done", exit_code=EXIT_COMPLETED)
_LEADERS = ("scheduler", "head")
#: Bounds: time until all runs are Running, as a multiple of the upstream operator's own time.
_RATIO = {"Dask": 1.5, "Ray": 2.0}
#: Bounds: CPU seconds of our operator and its writes a run, over the run's life.
_CPU_SECONDS, _WRITES = 0.12, 14 + _WORKERS
#: Bound: seconds from the end of a run until none of its objects is left, p99.
_TEARDOWN = 10.0
#: Bound: the time per run with 300 runs, as a multiple of that with 100.
_CLIFF = 1.3
#: Runs of the phase that counts writes: the proxy is slow.
_COUNTED_RUNS = 20
_WARM_UP = "warm-up"
#: Our operator without the Kubernetes clients that kopf imports where they are installed, as in its image.
_PROGRAM = """
import runpy, sys
sys.modules.update(dict.fromkeys(("kubernetes", "kubernetes_asyncio", "pykube")))
runpy.run_module("flowcluster_operator", run_name="__main__", alter_sys=True)
"""


@dataclasses.dataclass
class Measured:
    """One phase of the benchmark: seconds, and CPU seconds by process."""

    seconds: float
    cpu: dict[str, float]
    is_complete: bool


@dataclasses.dataclass
class Life:
    """Measurements of our operator.

    Attributes:
        started: until all runs were Running.
        ended: from then until all were over and none of their objects was left.
        before: memory of the operator before the first run (bytes).
        memory: its memory when all runs were Running (bytes).
        after: its memory when all were over (bytes).
        teardowns: seconds from the end of each run until none of its objects was left, by its status.
    """

    started: Measured
    ended: Measured
    before: int
    memory: int
    after: int
    teardowns: list[float]


class Bench:
    """Runs the phases on a rig.

    Args:
        rig: the rig.
        kind: ``Dask`` or ``Ray``.
        runs: number of simultaneous runs.
        limit: seconds after which a phase is stopped.
    """

    def __init__(self, rig: Rig, kind: str, runs: int, limit: float) -> None:
        self._rig, self._kind, self._runs, self._limit = rig, kind, runs, limit
        self._resource = CLUSTERS[kind]

    def alone(self) -> Measured:
        """Measure the upstream operator without ours."""
        template = self._template()
        view = self._rig.create_namespace(f"alone-{self._kind}")

        def create(number: int) -> None:
            body = {**template, "metadata": {**template["metadata"], "name": f"alone-{number}"}}
            self._rig.client.create(self._resource.path(view.namespace), body)

        measured = self._measure(None, lambda: _each(self._runs, create), lambda: self._ready(view) >= self._runs)
        made = view.entries(self._resource)
        path = self._resource.path
        _each(len(made), lambda number: self._rig.client.delete(path(view.namespace, made[number].name), "Foreground"))
        self._clear(view)
        return measured

    def ours(self) -> Life:
        """Measure our operator: the start of all runs, and their end."""
        view = self._rig.create_namespace(f"ours-{self._kind}")
        with _operator(self._rig, view.namespace) as operator:
            self._warm_up(view)
            before = operator.memory()
            started = self._start(view, operator, self._runs)
            memory = operator.memory()
            ended = self._end(view, operator, self._runs)
            after = operator.memory()
        teardowns = self._teardowns(view)
        self._clear(view)
        return Life(started, ended, before, memory, after, teardowns)

    def writes(self, runs: int) -> tuple[Counter[str], list[float]]:
        """Count our operator's writes over the life of some runs, which end one after the other.

        Returns:
            The writes by method and kind, and the seconds of each teardown.
        """
        view = self._rig.create_namespace(f"writes-{self._kind}")
        settings = {"FLOWCLUSTER_RESYNC_SECONDS": "60"}
        with RigOperator(self._rig, view.namespace, settings, is_fresh=True) as operator:
            self._warm_up(view)
            operator.arm(UNDISTURBED, "many-")
            self._start(view, None, runs)
            for number, driver in enumerate(view.pods("driver"), 1):
                played.end_pod(self._rig.client, driver, _GOOD)
                over = partial(self._is_over, view, number)
                wait_until(over, f"{number} runs are over", self._limit, every=0.1)
            counted = Counter(f"{write.method} {_plural(write.path)}" for write in operator.proxy.numbered())
        teardowns = self._teardowns(view)
        self._clear(view)
        return counted, teardowns

    def _start(self, view: View, operator: CpuAndMemory | None, runs: int) -> Measured:
        return self._measure(
            operator,
            lambda: _each(runs, lambda number: self._create(view, f"many-{number}")),
            lambda: self._in_phase(view, "Running") >= runs,
        )

    def _end(self, view: View, operator: CpuAndMemory | None, runs: int) -> Measured:
        def end() -> None:
            drivers = view.pods("driver")
            _each(len(drivers), lambda number: played.end_pod(self._rig.client, drivers[number], _GOOD))

        return self._measure(operator, end, lambda: self._is_over(view, runs))

    def _is_over(self, view: View, runs: int) -> bool:
        return self._in_phase(view, "Succeeded") >= runs

    def _teardowns(self, view: View) -> list[float]:
        """Return the whole seconds from the end of each run until none of its objects was left."""
        statuses = [run.body.get("status") or {} for run in view.entries(FLOW_RUN)]
        ends = [(parse_time(item["finishTime"]), item.get("clusterDeletedTime")) for item in statuses]
        return [(parse_time(gone) - finished).total_seconds() if gone else math.inf for finished, gone in ends]

    def _warm_up(self, view: View) -> None:
        """Let the operator handle one run, so that its start and first connections are not measured."""
        self._create(view, _WARM_UP)
        wait_until(lambda: view.status(_WARM_UP).get("phase") == "Running", "the first run is Running", 120, every=0.1)
        self._remove(view, _WARM_UP)

    def _remove(self, view: View, name: str) -> None:
        self._rig.client.delete(FLOW_RUN.path(view.namespace, name))
        wait_until(lambda: not view.entries(), f"nothing of run {name} is left", 120, every=0.1)

    def _clear(self, view: View) -> None:
        """Delete a namespace from which all cluster resources are gone or being deleted.

        dask-kubernetes takes a minute to remove its finalizer when the namespace of a DaskCluster is deleted before it
        was served.
        """
        wait_until(lambda: not view.entries(self._resource), "the clusters are gone", 300, every=0.2)
        self._rig.delete_namespace(view.namespace)
        wait_until(lambda: not view.entries(), "the namespace is empty", 300, every=0.2)

    def _create(self, view: View, name: str) -> None:
        workers = {"minimum": _WORKERS, "maximum": _WORKERS}
        spec = {"flow": {"entrypoint": "flows.py:flow"}, "cluster": {"kind": self._kind, "workers": workers}}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}
        self._rig.client.create(FLOW_RUN.path(view.namespace), body)

    def _template(self) -> Body:
        """Return the cluster resource that our operator creates for a run, without its owner."""
        view = self._rig.create_namespace(f"template-{self._kind}")
        with _operator(self._rig, view.namespace):
            self._create(view, _WARM_UP)
            wait_until(lambda: self._in_phase(view, "Running"), "the run is Running", 120, every=0.1)
            (made,) = view.entries(self._resource)
            found = self._rig.client.get(self._resource.path(view.namespace, made.name))
            self._remove(view, _WARM_UP)
        self._clear(view)
        assert found is not None
        kept = {name: found["metadata"][name] for name in ("labels", "annotations") if name in found["metadata"]}
        annotations = {name: text for name, text in kept.get("annotations", {}).items() if "kopf" not in name}
        return {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "metadata": {**kept, "annotations": annotations},
            "spec": found["spec"],
        }

    def _ready(self, view: View) -> int:
        leaders = sum(played.is_ready(pod) for pod in view.pods(*_LEADERS))
        workers = sum(played.is_ready(pod) for pod in view.pods("worker"))
        return min(leaders, workers // _WORKERS)

    def _in_phase(self, view: View, phase: str) -> int:
        return sum((run.body.get("status") or {}).get("phase") == phase for run in view.entries(FLOW_RUN))

    def _measure(self, operator: CpuAndMemory | None, act: Callable[[], None], is_done: Callable[[], bool]) -> Measured:
        before, began = self._cpu(operator), time.monotonic()
        act()
        try:
            wait_until(is_done, "all runs are there", self._limit, every=0.1)
            is_complete = True
        except AssertionError:
            is_complete = False
        after = self._cpu(operator)
        return Measured(
            time.monotonic() - began, {name: after[name] - before.get(name, 0) for name in after}, is_complete
        )

    def _cpu(self, operator: CpuAndMemory | None) -> dict[str, float]:
        shown = (_UPSTREAM[self._kind], "kube-apiserver", "kube-controller-manager")
        found = {name: self._rig.processes[name].cpu_seconds() for name in shown}
        return found | ({"flowcluster": operator.cpu_seconds()} if operator is not None else {})


@contextmanager
def _operator(rig: Rig, namespace: str) -> Iterator[Child]:
    """Run our operator as in production: it connects to the API server by TLS."""
    tree = pathlib.Path(os.environ.get(_ENV_TREE, ROOT))
    environment = {
        **SETTINGS,
        "PYTHONPATH": os.pathsep.join(str(tree / name) for name in ("sdk", "operator")),
        "KUBECONFIG": str(rig.kubeconfig),
        "FLOWCLUSTER_NAMESPACE": namespace,
        "FLOWCLUSTER_RESYNC_SECONDS": "60",
    }
    log = rig.folder / "log" / f"flowcluster-{namespace}.log"
    operator = Child("flowcluster", [sys.executable, "-c", _PROGRAM], log, environment)
    try:
        yield operator
        operator.check()
    finally:
        operator.stop()


def _plural(path: str) -> str:
    """Return the collection of a path, such as ``pods``, and its subresource."""
    _, _, rest = path.partition("/namespaces/")
    parts = rest.split("/")[1:]
    return "/".join([parts[0], *parts[2:]]) if parts else path


def _each(number: int, act: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(act, range(number)))


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _cpu_words(measured: Measured, runs: int) -> str:
    return ", ".join(f"{name} {seconds / runs:.3f}" for name, seconds in measured.cpu.items())


def _seconds(measured: Measured) -> str:
    return f"{measured.seconds:.1f} s" if measured.is_complete else f"not complete after {measured.seconds:.0f} s"


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(0.99 * len(seconds)))]


def _bounded(value: float, bound: float, digits: int = 2) -> str:
    return f"{value:.{digits}f} (bound {bound:g}{'' if value <= bound else ', MISSED'})"


def measure(rig: Rig, kind: str, runs: int, limit: float) -> float:
    """Run all phases for one kind of cluster, print the figures, and return the seconds a run until Running."""
    bench = Bench(rig, kind, runs, limit)
    alone = bench.alone()
    _print(f"{kind}, {runs} clusters with {_WORKERS} workers, {_UPSTREAM[kind]} alone: {_seconds(alone)}")
    _print(f"  CPU seconds a cluster: {_cpu_words(alone, runs)}")
    life = bench.ours()
    started, ended = life.started, life.ended
    ratio = _bounded(started.seconds / alone.seconds, _RATIO[kind])
    _print(f"{kind}, {runs} runs, all Running: {_seconds(started)}; times {_UPSTREAM[kind]} alone: {ratio}")
    _print(f"  CPU seconds a run: {_cpu_words(started, runs)}")
    _print(f"  all over and nothing left: {_seconds(ended)}; CPU seconds a run: {_cpu_words(ended, runs)}")
    _print(f"  teardown of one of them, p99: {_p99(life.teardowns):.0f} s")
    cpu = (started.cpu["flowcluster"] + ended.cpu["flowcluster"]) / runs
    _print(f"  CPU seconds of flowcluster a run in all: {_bounded(cpu, _CPU_SECONDS, 3)}")
    _print(
        f"  memory of flowcluster: {life.before / 2**20:.0f} MiB before, {life.memory / 2**20:.0f} MiB with all "
        f"Running, {(life.memory - life.before) / runs / 1024:.0f} KiB a run; {life.after / 2**20:.0f} MiB at the end"
    )
    return started.seconds / runs


def count(rig: Rig, kind: str, runs: int, limit: float) -> None:
    """Count our operator's writes and print them, and how long the teardown of one run at a time takes."""
    counted, teardowns = Bench(rig, kind, runs, limit).writes(runs)
    _print(f"{kind}, {runs} runs that end one by one, teardown p99: {_bounded(_p99(teardowns), _TEARDOWN, 0)}")
    total = sum(counted.values()) / runs
    _print(f"{kind}, {runs} runs, writes of flowcluster a run: {_bounded(total, _WRITES, 1)}")
    for what, number in sorted(counted.items()):
        _print(f"  {number / runs:5.1f} {what}")


def main() -> None:
    """Measure the chosen kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[100], help="simultaneous runs; several numbers: one after the other"
    )
    parser.add_argument("--kind", choices=sorted(CLUSTERS), action="append", help="by default both")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one phase (default %(default)g)")
    parser.add_argument(
        "--default-rates", action="store_true",
        help="limit the controllers of Kubernetes to 20 requests a second, which is their default",
    )  # fmt: skip
    options = parser.parse_args()
    with Rig(is_fast=not options.default_rates) as rig:
        for kind in options.kind or sorted(CLUSTERS):
            paces = [measure(rig, kind, runs, options.limit) for runs in options.runs]
            for runs, pace in zip(options.runs[1:], paces[1:], strict=True):
                ratio = _bounded(pace / paces[0], _CLIFF)
                _print(f"{kind}, seconds a run with {runs} runs, in times of {options.runs[0]} runs: {ratio}")
            count(rig, kind, min([*options.runs, _COUNTED_RUNS]), options.limit)


if __name__ == "__main__":
    main()

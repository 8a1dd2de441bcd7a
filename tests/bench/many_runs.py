"""Time many runs at once beside the upstream operator alone, on the rig: ``python -m tests.bench.many_runs``.

The same clusters are made twice on one rig: first as cluster resources that nobody but the upstream operator serves,
then by as many FlowRuns, each with a driver. Nothing runs in the pods, so that what is measured is control planes.
Printed are both times and their ratio, the CPU seconds a run of each process, our operator's writes a run and its
memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flowcluster_api import names
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from tests.support.chaos import played
from tests.support.rig.client import Body
from tests.support.rig.faults import UNDISTURBED
from tests.support.rig.kinds import CLUSTERS, FLOW_RUN
from tests.support.rig.ledger import View
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until

_WORKERS = 2
_PODS = 1 + _WORKERS
_UPSTREAM = {"Dask": "dask-kubernetes", "Ray": "kuberay"}
_AT_A_TIME = 16
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="done", exit_code=EXIT_COMPLETED)
_LEADERS = ("scheduler", "head")


@dataclasses.dataclass
class Measured:
    """One phase of the benchmark: seconds, and CPU seconds by process."""

    seconds: float
    cpu: dict[str, float]
    is_complete: bool


class Bench:
    """Runs the phases on a rig.

    Args:
        rig: the rig.
        kind: ``Dask`` or ``Ray``.
        runs: how many at once.
        limit: seconds after which a phase is given up.

    Attributes:
        memory: bytes of our operator when all runs had started.
        starting: its writes until then, by method.
        writes: all of its writes, by method.
    """

    def __init__(self, rig: Rig, kind: str, runs: int, limit: float) -> None:
        self._rig, self._kind, self._runs, self._limit = rig, kind, runs, limit
        self._resource = CLUSTERS[kind]
        self.memory = 0
        self.starting, self.writes = Counter[str](), Counter[str]()

    def alone(self) -> Measured:
        """Measure the upstream operator without ours."""
        template = self._template()
        view = self._rig.create_namespace(f"alone-{self._kind}")

        def create(number: int) -> None:
            body = {**template, "metadata": {**template["metadata"], "name": f"alone-{number}"}}
            self._rig.client.create(self._resource.path(view.namespace), body)

        measured = self._measure(None, lambda: _each(self._runs, create), lambda: self._ready(view) >= self._runs)
        self._rig.delete_namespace(view.namespace)
        wait_until(lambda: not view.entries(), "the clusters are gone", 300, every=0.2)
        return measured

    def ours(self) -> tuple[Measured, Measured]:
        """Measure our operator: the start of all runs, and their end."""
        view = self._rig.create_namespace(f"ours-{self._kind}")
        with RigOperator(self._rig, view.namespace, {"FLOWCLUSTER_RESYNC_SECONDS": "60"}, is_fresh=True) as operator:
            operator.arm(UNDISTURBED, "many-")
            started = self._measure(
                operator,
                lambda: _each(self._runs, lambda number: self._create(view, number)),
                lambda: self._in_phase(view, "Running") >= self._runs,
            )
            self.memory, self.starting = operator.memory(), self._verbs(operator)

            def end() -> None:
                drivers = view.pods("driver")
                _each(len(drivers), lambda number: played.end_pod(self._rig.client, drivers[number], _GOOD))

            ended = self._measure(
                operator,
                end,
                lambda: self._in_phase(view, "Succeeded") >= self._runs,
            )
            self.writes = self._verbs(operator)
        self._rig.delete_namespace(view.namespace)
        return started, ended

    def _create(self, view: View, number: int) -> None:
        workers = {"minimum": _WORKERS, "maximum": _WORKERS}
        spec = {"flow": {"entrypoint": "flows.py:flow"}, "cluster": {"kind": self._kind, "workers": workers}}
        metadata = {"name": f"many-{number}"}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
        self._rig.client.create(FLOW_RUN.path(view.namespace), body)

    def _template(self) -> Body:
        """Return the cluster resource that our operator makes of a run, without its owner."""
        view = self._rig.create_namespace(f"template-{self._kind}")
        with RigOperator(self._rig, view.namespace):
            self._create(view, 0)
            (made,) = wait_until(lambda: view.entries(self._resource), "the run has its cluster", 60)
            found = self._rig.client.get(self._resource.path(view.namespace, made.name))
        self._rig.delete_namespace(view.namespace)
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

    def _verbs(self, operator: RigOperator) -> Counter[str]:
        return Counter(write.method for write in operator.proxy.numbered())

    def _measure(self, operator: RigOperator | None, act: Callable[[], None], is_done: Callable[[], bool]) -> Measured:
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

    def _cpu(self, operator: RigOperator | None) -> dict[str, float]:
        shown = (_UPSTREAM[self._kind], "kube-apiserver", "kube-controller-manager")
        found = {name: self._rig.processes[name].cpu_seconds() for name in shown}
        return found | ({"flowcluster": operator.cpu_seconds()} if operator is not None else {})


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


def measure(rig: Rig, kind: str, runs: int, limit: float) -> None:
    """Run all phases for one kind of cluster and print the figures."""
    bench = Bench(rig, kind, runs, limit)
    alone = bench.alone()
    _print(f"{kind}, {runs} clusters with {_WORKERS} workers, {_UPSTREAM[kind]} alone: {_seconds(alone)}")
    _print(f"  CPU seconds a cluster: {_cpu_words(alone, runs)}")
    started, ended = bench.ours()
    ratio = started.seconds / alone.seconds
    _print(f"{kind}, {runs} runs, all Running: {_seconds(started)}, {ratio:.2f} times {_UPSTREAM[kind]} alone")
    _print(f"  CPU seconds a run: {_cpu_words(started, runs)}")
    _print(f"  all over and nothing left: {_seconds(ended)}; CPU seconds a run: {_cpu_words(ended, runs)}")
    for name, verbs in (("to start", bench.starting), ("in all", bench.writes)):
        words = ", ".join(f"{verb} {count / runs:.1f}" for verb, count in sorted(verbs.items()))
        _print(f"  writes a run {name}: {sum(verbs.values()) / runs:.1f} ({words})")
    _print(f"  memory of flowcluster with all of them running: {bench.memory / 2**20:.0f} MiB")


def main() -> None:
    """Measure the chosen kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="how many at once (default %(default)s)")
    parser.add_argument("--kind", choices=sorted(CLUSTERS), action="append", help="by default both")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one phase (default %(default)g)")
    options = parser.parse_args()
    with Rig() as rig:
        for kind in options.kind or sorted(CLUSTERS):
            measure(rig, kind, options.runs, options.limit)


if __name__ == "__main__":
    main()

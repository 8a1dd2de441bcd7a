"""Count what the operator writes for runs without events: ``python -m tests.bench.idle_writes [--runs N]``.

On the rig, N runs of each kind of cluster are live and N have ended. Drivers renew the Leases of half of the live
runs, as agents do. The images of the others have no agent. Nothing else happens. The operator must write nothing. Its
requests, its CPU time, and the writes of others to the runs' objects are printed too.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flowcluster_api import lease, names
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from tests.bench.common import Table
from tests.support.chaos import played
from tests.support.chaos.scenarios import KINDS
from tests.support.rig.kinds import FLOW_RUN, LEASE
from tests.support.rig.ledger import View
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until

_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="done", exit_code=EXIT_COMPLETED)
_START_SECONDS, _QUIET_SECONDS = 300.0, 10.0
#: As in the chart.
_SETTINGS = {"FLOWCLUSTER_RESYNC_SECONDS": "60"}


def begun(rig: Rig, view: View, prefix: str, runs: int) -> list[str]:
    """Create runs of each kind, and wait until they run; return their names."""
    created = [f"{prefix}-{kind.lower()}-{number}" for kind in KINDS for number in range(runs)]
    for name in created:
        kind = next(kind for kind in KINDS if f"-{kind.lower()}-" in name)
        cluster = {"kind": kind, "workers": {"minimum": 1, "maximum": 2}}
        body = {"flow": {"entrypoint": "flows.py:flow"}, "cluster": cluster}
        run = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": body}
        rig.client.create(FLOW_RUN.path(view.namespace), run)
    wait_until(
        lambda: all(view.status(name).get("phase") == "Running" for name in created),
        f"{len(created)} runs are Running",
        _START_SECONDS,
        every=0.2,
    )
    return created


def end(rig: Rig, view: View) -> None:
    """End the drivers of all runs, and wait until none of their objects is left."""
    drivers = view.pods("driver")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pod: played.end_pod(rig.client, pod, _GOOD), drivers))
    wait_until(lambda: not view.pods("driver", "worker", "scheduler", "head"), "the pods are gone", _START_SECONDS)


def renew(rig: Rig, view: View, runs: list[str], acquired: str) -> None:
    """Renew the Leases of runs, as their drivers do."""
    for entry in view.entries(LEASE):
        if entry.body["metadata"]["labels"].get(names.LABEL_RUN) in runs:
            patch = lease.renewal("driver/1", lease.DURATION, played.now(), acquired)
            rig.client.patch(LEASE.path(view.namespace, entry.name), patch)


def wait(until: float) -> None:
    """Wait until a time of the monotonic clock."""
    wait_until(lambda: time.monotonic() >= until, "the time is over", until - time.monotonic() + 60, every=0.5)


def main() -> None:
    """Measure and print. Exits with 1 when the operator wrote anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="live runs of each kind, and as many that have ended")
    parser.add_argument("--seconds", type=int, default=600)
    options = parser.parse_args()
    with Rig() as rig:
        view = rig.create_namespace("idle")
        with RigOperator(rig, view.namespace, _SETTINGS, is_fresh=True) as operator:
            begun(rig, view, "over", options.runs)
            end(rig, view)
            live, acquired = begun(rig, view, "live", options.runs)[::2], played.now()
            renew(rig, view, live, acquired)
            wait_until(lambda: operator.is_quiet(_QUIET_SECONDS), "the start is over", _START_SECONDS, every=0.5)
            operator.reset()
            changes, requests, cpu = len(view.history()), operator.proxy.requests, operator.cpu_seconds()
            until = time.monotonic() + options.seconds
            renewals = 0
            while time.monotonic() < until:
                renew(rig, view, live, acquired)
                renewals += len(live)
                wait(min(time.monotonic() + lease.DURATION / lease.RENEWALS, until))
            writes = Counter(f"{write.target} {write.about}".strip() for write in operator.proxy.writes)
            others = len(view.history()) - changes - renewals - writes.total()
            requests, cpu = operator.proxy.requests - requests, operator.cpu_seconds() - cpu
        rig.check()
    runs = len(KINDS) * options.runs
    table = Table(f"{options.seconds} s with {runs} live and {runs} ended runs, and {renewals} renewals")
    table.row(f"the operator's writes ({dict(writes)})", writes.total(), "", bound=0, digits=0)
    table.row("changes by others, besides the renewals", max(others, 0), "", digits=0)
    table.row("the operator's requests", requests, "", digits=0)
    table.row("its CPU time", cpu, "s", digits=1)
    table.finish()


if __name__ == "__main__":
    main()

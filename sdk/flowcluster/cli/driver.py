"""Running one flow to its outcome: what `flowcluster run` does, on a desk and in a pod.

The operator starts this as the driver of a flow run: then the environment tells the run's name, its
parameters and its cluster, and the outcome is left in a file. `flowcluster_api.driver` has the names.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flowcluster import errors
from flowcluster.cli import entrypoint as entrypoints
from flowcluster.cli import parameters as assignments
from flowcluster.cli.keeping import keeper_of
from flowcluster.cli.own_clusters import OwnDaskCluster, OwnRayCluster
from flowcluster.cli.presence import Presence, presence_of
from flowcluster.cli.problems import Problem
from flowcluster.engine import flow_run, progress, signals
from flowcluster.engine.outcomes import cancelled, outcome_of
from flowcluster.engine.run import FlowRun
from flowcluster.flows import Flow
from flowcluster.tracebacks import format_trimmed
from flowcluster_api import driver as api
from flowcluster_api import names
from flowcluster_api.driver import Outcome

#: Seconds after SIGTERM in which a run may close what it opened. Then the process ends: it has to
#: leave its outcome before the kubelet kills it, by default 30 seconds after the signal.
GRACE = 20.0


class Ending(NamedTuple):
    """How a run ended: its outcome, the flow run if one began, and the seconds that it took."""

    outcome: Outcome
    run: FlowRun | None
    seconds: float


def main(entrypoint: str, parameters: Sequence[str], environment: Mapping[str, str]) -> Ending:
    """Run the flow; report its outcome on stderr and, where the operator asks for it, in a file. Never raises."""
    run, presence, started = None, None, time.monotonic()
    # At once: the first process of a container ignores signals that it has no handler for.
    signal.signal(signal.SIGTERM, signals.terminate)
    path = environment.get(api.ENV_OUTCOME_PATH)
    signals.on_sigterm.append(lambda: _end_after(GRACE, path))
    try:
        keeper, presence = keeper_of(environment), presence_of(environment)
        run = _run(entrypoint, parameters, environment, presence)
        outcome = outcome_of(run)
        if keeper is not None and outcome.result_omitted is not None:
            outcome = keeper.kept(outcome, run.state)
    except Problem as problem:
        if problem.cause is not None and not isinstance(problem.cause, SystemExit):
            print(format_trimmed(problem.cause), file=sys.stderr)
        outcome = Outcome(state="Failed", reason=problem.reason, message=problem.message, exit_code=api.EXIT_USAGE)
    except (KeyboardInterrupt, errors.Terminated) as error:
        outcome = cancelled(error)
    if path:
        outcome = dataclasses.replace(outcome, exit_code=_exit_code(outcome))
    if outcome.reason != "FlowCompleted":
        print(f"{outcome.reason}: {outcome.message}", file=sys.stderr)
    # The outcome is known: what arrives from here on has no run to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write(outcome, path)
    if presence is not None:
        presence.stop()
    return Ending(outcome, run, time.monotonic() - started)


def _exit_code(outcome: Outcome) -> int:
    """The exit code in a Job, which distinguishes a flow that exits with 2 from one that could not be started."""
    if outcome.reason == "FlowExited":
        return api.EXIT_FAILED if outcome.exit_code == api.EXIT_NOT_STARTED else outcome.exit_code
    return api.EXIT_NOT_STARTED if outcome.exit_code == api.EXIT_USAGE else outcome.exit_code


def write(outcome: Outcome, path: str | None) -> None:
    """Leave the outcome in the file `path`, if there is one."""
    if not path:
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(outcome.to_json())
    except OSError as error:
        # The exit code still tells the most important part.
        print(f"The outcome could not be written to {path}: {error.strerror}.", file=sys.stderr)


def _run(
    entrypoint: str, parameters: Sequence[str], environment: Mapping[str, str], presence: Presence | None
) -> FlowRun:
    given: dict[str, Any] = {}
    if path := environment.get(api.ENV_PARAMETERS_PATH):
        given = assignments.from_file(path)
    given.update(assignments.parse(parameters))
    flow = _with_cluster(entrypoints.load(entrypoint), environment, presence)
    given = assignments.fitted(given, flow.fn)
    watching = [presence.watch] if presence is not None else []
    flow_run.on_begin.extend(watching)
    try:
        return flow_run.run_blocking(flow.spec, (), given, environment.get(api.ENV_RUN_NAME) or None)
    finally:
        for watch in watching:
            flow_run.on_begin.remove(watch)


def _with_cluster(flow: Flow[..., Any], environment: Mapping[str, str], presence: Presence | None) -> Flow[..., Any]:
    """The flow on the run's own cluster, if the operator made one. Its subflows keep their runners."""
    kind = environment.get(api.ENV_CLUSTER_KIND)
    if not kind:
        return flow
    if kind not in names.HEAD_COMPONENTS:
        raise Problem("ClusterKindUnsupported", f"This version runs flows on clusters of Dask and Ray, not of {kind}.")
    address = environment.get(api.ENV_CLUSTER_ADDRESS)
    if not address:
        raise Problem("ClusterUnreachable", f"{api.ENV_CLUSTER_KIND} is set, but {api.ENV_CLUSTER_ADDRESS} is not.")
    if kind == "Ray":
        return flow.with_options(task_runner=OwnRayCluster(address))
    adapts, can_idle = environment.get(api.ENV_CLUSTER_ADAPTS), api.ENV_CLUSTER_IDLE_TIMEOUT in environment
    # A run that can be idle for too long is looked at from the start, also where the number of workers is fixed.
    when_edited = adapts == api.ADAPTS_WHEN_EDITED and not can_idle
    runner = OwnDaskCluster(address, presence if adapts or can_idle else None, when_edited=when_edited)
    return flow.with_options(task_runner=runner)


def _end_after(seconds: float, path: str | None) -> None:
    def end() -> None:
        progress.clear()
        print("The flow run did not close in time; the process ends.", file=sys.stderr, flush=True)
        write(cancelled(errors.Terminated()), path)
        os._exit(api.EXIT_CANCELLED)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

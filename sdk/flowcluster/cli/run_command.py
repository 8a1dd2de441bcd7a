"""``flowcluster run``: run one flow to its outcome, on a user's machine and in a pod.

The operator starts this command as the driver of a FlowRun. Then environment variables have the run's name, its
parameters and its cluster, and the outcome is written to a file. `flowcluster_api.driver` has the names.
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
from flowcluster._output.tracebacks import format_trimmed
from flowcluster.cli import entrypoint as entrypoints
from flowcluster.cli import parameters as assignments
from flowcluster.cli.in_cluster_runners import InClusterDaskTaskRunner, InClusterRayTaskRunner
from flowcluster.cli.pod_agent import PodAgent, pod_agent_of
from flowcluster.cli.result_store import result_store_of
from flowcluster.cli.startup_error import StartupError
from flowcluster.engine import progress_display, run_loop, sigterm
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.outcome import cancelled, outcome_of
from flowcluster.flows import Flow
from flowcluster_api import driver as api
from flowcluster_api import names
from flowcluster_api.driver import Outcome

#: Seconds after SIGTERM in which a run can close what it opened. Then the process ends: it must write its outcome
#: before the kubelet kills it, by default 30 seconds after the signal.
GRACE = 20.0


class Ending(NamedTuple):
    """The end of a run: its outcome, the flow run if one began, and its duration in seconds."""

    outcome: Outcome
    run: FlowRun | None
    seconds: float


def main(entrypoint: str, parameters: Sequence[str], environment: Mapping[str, str]) -> Ending:
    """Run a flow, and report its outcome on stderr and, for the operator, in a file. Never raises.

    Args:
        entrypoint: FILE.py:FUNCTION or package.module:FUNCTION.
        parameters: of the flow, as ``name=value``.
        environment: environment variables.
    """
    run, pod_agent, started = None, None, time.monotonic()
    # As early as possible: the first process of a container ignores signals that have no handler.
    signal.signal(signal.SIGTERM, sigterm.terminate)
    path = environment.get(api.ENV_OUTCOME_PATH)
    sigterm.on_sigterm.append(lambda: _end_after(GRACE, path))
    try:
        store, pod_agent = result_store_of(environment), pod_agent_of(environment)
        run = _run(entrypoint, parameters, environment, pod_agent)
        outcome = outcome_of(run)
        if store is not None and outcome.result_omitted is not None:
            outcome = store.store(outcome, run.state)
    except StartupError as problem:
        if problem.cause is not None and not isinstance(problem.cause, SystemExit):
            print(format_trimmed(problem.cause), file=sys.stderr)
        outcome = Outcome(state="Failed", reason=problem.reason, message=problem.message, exit_code=api.EXIT_USAGE)
    except (KeyboardInterrupt, errors.Terminated) as error:
        outcome = cancelled(error)
    if path:
        outcome = dataclasses.replace(outcome, exit_code=_exit_code(outcome))
    if outcome.reason != "FlowCompleted":
        print(f"{outcome.reason}: {outcome.message}", file=sys.stderr)
    # The outcome is known: a signal that arrives later has no run to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write(outcome, path)
    if pod_agent is not None:
        pod_agent.stop()
    return Ending(outcome, run, time.monotonic() - started)


def _exit_code(outcome: Outcome) -> int:
    """Return the exit code in a Job, which distinguishes a flow that exits with 2 from one that could not start."""
    if outcome.reason == "FlowExited":
        return api.EXIT_FAILED if outcome.exit_code == api.EXIT_NOT_STARTED else outcome.exit_code
    return api.EXIT_NOT_STARTED if outcome.exit_code == api.EXIT_USAGE else outcome.exit_code


def write(outcome: Outcome, path: str | None) -> None:
    """Write the outcome to the file `path`. Do nothing without a path."""
    if not path:
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(outcome.to_json())
    except OSError as error:
        # The exit code still reports the most important part.
        print(f"The outcome could not be written to {path}: {error.strerror}.", file=sys.stderr)


def _run(
    entrypoint: str, parameters: Sequence[str], environment: Mapping[str, str], pod_agent: PodAgent | None
) -> FlowRun:
    given: dict[str, Any] = {}
    if path := environment.get(api.ENV_PARAMETERS_PATH):
        given = assignments.from_file(path)
    given.update(assignments.parse(parameters))
    flow = _with_cluster(entrypoints.load(entrypoint), environment, pod_agent)
    given = assignments.fitted(given, flow.fn)
    watching = [pod_agent.watch] if pod_agent is not None else []
    run_loop.on_begin.extend(watching)
    try:
        return run_loop.run_blocking(flow.spec, (), given, environment.get(api.ENV_RUN_NAME) or None)
    finally:
        for watch in watching:
            run_loop.on_begin.remove(watch)


def _with_cluster(flow: Flow[..., Any], environment: Mapping[str, str], pod_agent: PodAgent | None) -> Flow[..., Any]:
    """Return the flow on the run's own cluster, if the operator created one. Its subflows keep their runners."""
    kind = environment.get(api.ENV_CLUSTER_KIND)
    if not kind:
        return flow
    if kind not in names.HEAD_COMPONENTS:
        raise StartupError(
            "ClusterKindUnsupported", f"This version runs flows on clusters of Dask and Ray, not of {kind}."
        )
    address = environment.get(api.ENV_CLUSTER_ADDRESS)
    if not address:
        raise StartupError(
            "ClusterUnreachable", f"{api.ENV_CLUSTER_KIND} is set, but {api.ENV_CLUSTER_ADDRESS} is not."
        )
    if kind == "Ray":
        return flow.with_options(task_runner=InClusterRayTaskRunner(address))
    adapts, can_idle = environment.get(api.ENV_CLUSTER_ADAPTS), api.ENV_CLUSTER_IDLE_TIMEOUT in environment
    # A run with an idle timeout is observed from the start, also with a fixed number of workers.
    when_edited = adapts == api.ADAPTS_WHEN_EDITED and not can_idle
    runner = InClusterDaskTaskRunner(address, pod_agent if adapts or can_idle else None, when_edited=when_edited)
    return flow.with_options(task_runner=runner)


def _end_after(seconds: float, path: str | None) -> None:
    def end() -> None:
        progress_display.clear()
        print("The flow run did not close in time; the process ends.", file=sys.stderr, flush=True)
        write(cancelled(errors.Terminated()), path)
        os._exit(api.EXIT_CANCELLED)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

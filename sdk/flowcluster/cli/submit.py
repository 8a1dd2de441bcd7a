"""``flowcluster submit``: a flow becomes a FlowRun, which may be watched until it has ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

from flowcluster.cli import entrypoint as entrypoints
from flowcluster.cli import parameters as assignments
from flowcluster.cli.problems import Problem
from flowcluster.errors import KubernetesError, NotFound, ParameterError
from flowcluster.kube.choice import Choice
from flowcluster.kube.submission import SubmitRequest, submit
from flowcluster.packing import place_at
from flowcluster.submitting import prepare
from flowcluster.tracebacks import format_trimmed
from flowcluster_api import driver as api

#: Exit codes beyond those of `flowcluster_api.driver`: the FlowRun was deleted while it was watched; the API server
#: was away for too long, or refused; Ctrl-C.
EXIT_DELETED, EXIT_UNSEEN, EXIT_STOPPED = 4, 7, 130


class Wanted(NamedTuple):
    """What stands on the command line.

    Attributes:
        entrypoint: FILE.py:FUNCTION or package.module:FUNCTION.
        parameters: of the flow, as ``name=value``.
        workers: ``N`` or ``MIN:MAX``.
        cluster: ``NAME`` or ``NAME/NAMESPACE`` of a SharedCluster.
        watch: whether to show the run until its end.
        dry_run: whether to show only what would be created.
        json: whether stdout is for a program.
    """

    entrypoint: str
    parameters: Sequence[str]
    image: str | None
    name: str | None
    workers: str | None
    cluster: str | None
    result_storage: str | None
    choice: Choice
    watch: bool
    dry_run: bool
    json: bool


def main(wanted: Wanted, stdout: TextIO) -> int:
    """Do it; the exit code. What went wrong is told on stderr."""
    try:
        objects = _prepared(wanted)
        if wanted.dry_run:
            _show(objects, stdout, as_json=wanted.json)
            return api.EXIT_COMPLETED
        run = submit(objects)
    except Problem as problem:
        if problem.cause is not None and not isinstance(problem.cause, SystemExit):
            print(format_trimmed(problem.cause), file=sys.stderr)
        print(f"{problem.reason}: {problem.message}", file=sys.stderr)
        return api.EXIT_USAGE
    except (KubernetesError, ImportError) as error:
        print(f"NotSubmitted: {error}", file=sys.stderr)
        return api.EXIT_USAGE
    kubectl = f"kubectl -n {run.namespace}"
    cancel = f"""{kubectl} patch flowrun {run.name} --type merge -p '{{"spec":{{"cancel":true}}}}'"""
    if not wanted.watch:
        if wanted.json:
            print(json.dumps({"name": run.name, "namespace": run.namespace, "uid": run.uid}), file=stdout)
            return api.EXIT_COMPLETED
        print(f"flowrun/{run.name} created in namespace {run.namespace}", file=stdout)
        print(f"to follow it:  {kubectl} get flowrun {run.name} --watch", file=stdout)
        print(f"to stop it:    {cancel}", file=stdout)
        return api.EXIT_COMPLETED
    from flowcluster.cli.watching import watch

    told = sys.stderr if wanted.json else stdout
    print(f"flowrun/{run.name} created in namespace {run.namespace}; Ctrl-C ends the watching, not the run", file=told)
    try:
        document = watch(run, objects.flow_run["spec"]["flow"]["entrypoint"], told)
    except KeyboardInterrupt:
        print(f"\nFlowRun {run.name} goes on. To stop it: {cancel}", file=sys.stderr)
        return EXIT_STOPPED
    except NotFound as error:
        print(f"Deleted: {error}", file=sys.stderr)
        return EXIT_DELETED
    except KubernetesError as error:
        print(f"LostSight: {error} The run goes on: {kubectl} get flowrun {run.name}", file=sys.stderr)
        return EXIT_UNSEEN
    if wanted.json:
        print(json.dumps(document, ensure_ascii=False), file=stdout)
    code: int = document["exitCode"]
    return code


def _prepared(wanted: Wanted) -> SubmitRequest:
    """The objects to be created. Raises `Problem` for whatever is wrong with flow, parameters or options."""
    place, workers = place_at(wanted.entrypoint), _workers(wanted.workers)
    flow = entrypoints.load(wanted.entrypoint)
    given = assignments.fitted(assignments.parse(wanted.parameters), flow.fn)
    try:
        return prepare(
            flow,
            given,
            place=place,
            image=wanted.image,
            name=wanted.name,
            workers=workers,
            cluster=wanted.cluster,
            result_storage=wanted.result_storage,
            choice=wanted.choice,
        )
    except ParameterError as error:
        raise Problem("InvalidParameters", str(error)) from None
    except ValueError as error:
        raise Problem("NotSubmitted", str(error)) from None


def _workers(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return (int(low), int(high)) if colon else int(low)
    except ValueError:
        raise Problem("InvalidWorkers", f"'--workers {text}': write a number, or two as in 0:10.") from None


def _show(objects: SubmitRequest, stdout: TextIO, *, as_json: bool) -> None:
    """Print the objects, the code before what mounts it."""
    items = [item for item in (objects.config_map, objects.flow_run) if item is not None]
    if as_json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, ensure_ascii=False), file=stdout)
        return
    try:
        import yaml
    except ImportError:
        raise Problem("NotShown", 'YAML needs: pip install "flowcluster[kubernetes]"; or add --json.') from None

    class Dumper(yaml.SafeDumper):
        """Code as it is written, in lines."""

    def lines(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, lines)
    print(yaml.dump_all(items, Dumper=Dumper, sort_keys=False, allow_unicode=True), end="", file=stdout)

"""``flowcluster submit``: create a FlowRun for a flow, and watch it until its end if requested."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

from flowcluster._output.tracebacks import format_trimmed
from flowcluster.cli import entrypoint as entrypoints
from flowcluster.cli import parameters as assignments
from flowcluster.cli.startup_error import StartupError
from flowcluster.errors import KubernetesError, NotFound, ParameterError
from flowcluster.kube.choice import Choice
from flowcluster.submit.manifests import SubmitRequest, submit
from flowcluster.submit.packing import location_at
from flowcluster.submit.prepare import prepare
from flowcluster_api import driver as api

#: Exit codes besides those of `flowcluster_api.driver`: the FlowRun was deleted while it was watched; the API server
#: did not answer for too long, or refused a request; Ctrl-C.
EXIT_DELETED, EXIT_UNSEEN, EXIT_STOPPED = 4, 7, 130


class SubmitArgs(NamedTuple):
    """The arguments of the command.

    Attributes:
        entrypoint: FILE.py:FUNCTION or package.module:FUNCTION.
        parameters: of the flow, as ``name=value``.
        workers: ``N`` or ``MIN:MAX``.
        cluster: ``NAME`` or ``NAME/NAMESPACE`` of a SharedCluster.
        watch: whether to show the run until its end.
        dry_run: whether to show only what would be created.
        json: whether a program reads stdout.
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


def main(args: SubmitArgs, stdout: TextIO) -> int:
    """Run the command, and return the exit code. Errors are printed to stderr."""
    try:
        objects = _prepared(args)
        if args.dry_run:
            _show(objects, stdout, as_json=args.json)
            return api.EXIT_COMPLETED
        run = submit(objects)
    except StartupError as problem:
        if problem.cause is not None and not isinstance(problem.cause, SystemExit):
            print(format_trimmed(problem.cause), file=sys.stderr)
        print(f"{problem.reason}: {problem.message}", file=sys.stderr)
        return api.EXIT_USAGE
    except (KubernetesError, ImportError) as error:
        print(f"NotSubmitted: {error}", file=sys.stderr)
        return api.EXIT_USAGE
    kubectl = f"kubectl -n {run.namespace}"
    cancel = f"""{kubectl} patch flowrun {run.name} --type merge -p '{{"spec":{{"cancel":true}}}}'"""
    if not args.watch:
        if args.json:
            print(json.dumps({"name": run.name, "namespace": run.namespace, "uid": run.uid}), file=stdout)
            return api.EXIT_COMPLETED
        print(f"flowrun/{run.name} created in namespace {run.namespace}", file=stdout)
        print(f"to follow it:  {kubectl} get flowrun {run.name} --watch", file=stdout)
        print(f"to stop it:    {cancel}", file=stdout)
        return api.EXIT_COMPLETED
    from flowcluster.cli.watch import watch

    output = sys.stderr if args.json else stdout
    print(
        f"flowrun/{run.name} created in namespace {run.namespace}; Ctrl-C ends the watching, not the run", file=output
    )
    try:
        document = watch(run, objects.flow_run["spec"]["flow"]["entrypoint"], output)
    except KeyboardInterrupt:
        print(f"\nFlowRun {run.name} goes on. To stop it: {cancel}", file=sys.stderr)
        return EXIT_STOPPED
    except NotFound as error:
        print(f"Deleted: {error}", file=sys.stderr)
        return EXIT_DELETED
    except KubernetesError as error:
        print(f"LostSight: {error} The run goes on: {kubectl} get flowrun {run.name}", file=sys.stderr)
        return EXIT_UNSEEN
    if args.json:
        print(json.dumps(document, ensure_ascii=False), file=stdout)
    code: int = document["exitCode"]
    return code


def _prepared(args: SubmitArgs) -> SubmitRequest:
    """Return the objects to be created.

    Raises:
        StartupError: the flow, its parameters or an option is invalid.
    """
    location, workers = location_at(args.entrypoint), _workers(args.workers)
    flow = entrypoints.load(args.entrypoint)
    given = assignments.fitted(assignments.parse(args.parameters), flow.fn)
    try:
        return prepare(
            flow,
            given,
            location=location,
            image=args.image,
            name=args.name,
            workers=workers,
            cluster=args.cluster,
            result_storage=args.result_storage,
            choice=args.choice,
        )
    except ParameterError as error:
        raise StartupError("InvalidParameters", str(error)) from None
    except ValueError as error:
        raise StartupError("NotSubmitted", str(error)) from None


def _workers(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return (int(low), int(high)) if colon else int(low)
    except ValueError:
        raise StartupError("InvalidWorkers", f"'--workers {text}': write a number, or two as in 0:10.") from None


def _show(objects: SubmitRequest, stdout: TextIO, *, as_json: bool) -> None:
    """Print the objects, the ConfigMap before the FlowRun that mounts it."""
    items = [item for item in (objects.config_map, objects.flow_run) if item is not None]
    if as_json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, ensure_ascii=False), file=stdout)
        return
    try:
        import yaml
    except ImportError:
        raise StartupError("NotShown", 'YAML needs: pip install "flowcluster[kubernetes]"; or add --json.') from None

    class Dumper(yaml.SafeDumper):
        """Writes code line by line."""

    def lines(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, lines)
    print(yaml.dump_all(items, Dumper=Dumper, sort_keys=False, allow_unicode=True), end="", file=stdout)

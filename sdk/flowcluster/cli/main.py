"""``flowcluster``: the entry point of the command line, and its commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from flowcluster_api import __version__
from flowcluster_api import driver as api

EXAMPLES = """\b
Examples:
  flowcluster run greetings.py:greetings -p 'names=["arthur", "trillian"]'
  flowcluster run package.module:report -p year=2042 -p config=@config.json
  flowcluster run greetings.py:greetings --json | jq .result
  flowcluster submit greetings.py:greetings -p 'names=["ford"]' --workers 0:4 --watch
  flowcluster submit greetings.py:greetings -p 'names=["ford"]' --cluster analytics
"""

app = typer.Typer(
    name="flowcluster",
    help="Flows and tasks on temporary clusters.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"flowcluster {__version__}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Process the options of the program itself."""


Entrypoint = Annotated[str, typer.Argument(metavar="FILE:FLOW", help="FILE.py:FUNCTION or package.module:FUNCTION.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="KEY=VALUE",
        help=(
            "A parameter of the flow; can be repeated. A value that is JSON and fits the parameter's type is read "
            "as JSON, any other value is a text. KEY=@FILE.json reads a file."
        ),
    ),
]


@app.command(epilog=EXAMPLES)
def run(
    entrypoint: Entrypoint,
    parameter: Parameters = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help=(
                "Print one JSON document to stdout: state, reason, message, name, flow, result, tasks, duration, "
                "exitCode. What the flow prints goes to stderr."
            ),
        ),
    ] = False,
) -> None:
    """Run a flow in this process.

    Exits with 0 if the flow completed, 1 if it did not, 2 if it could not start, 3 if it was cancelled;
    with n if the flow called sys.exit(n).
    """
    # Imported here: other commands and --help need none of it.
    from flowcluster.cli import run_command

    if not json:
        raise typer.Exit(run_command.main(entrypoint, parameter or [], os.environ).outcome.exit_code)
    from flowcluster.cli import report

    with report.stdout_of_our_own() as stdout:
        ending = run_command.main(entrypoint, parameter or [], os.environ)
        print(report.document(*ending), file=stdout)
    raise typer.Exit(ending.outcome.exit_code)


def _option(*names: str, metavar: str | None = None, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help)


@app.command(epilog=EXAMPLES)
def submit(
    entrypoint: Entrypoint,
    parameter: Parameters = None,
    image: Annotated[
        str | None,
        _option(
            "--image",
            help="Image of the driver and its cluster. By default FLOWCLUSTER_IMAGE, else the image that the "
            "administrator set.",
        ),
    ] = None,
    name: Annotated[
        str | None, _option("--name", help="Name of the FlowRun. By default the flow's name with a unique suffix.")
    ] = None,
    workers: Annotated[
        str | None,
        _option(
            "--workers",
            metavar="N|MIN:MAX",
            help="Number of workers of the run's own cluster, or minimum and maximum. If the task runner makes no "
            "cluster: a Ray cluster for a RayTaskRunner, else a Dask cluster. By default the task runner decides.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        _option(
            "--cluster",
            metavar="NAME[/NAMESPACE]",
            help="SharedCluster that the run uses, in the run's namespace or another one. By default the task runner "
            "decides.",
        ),
    ] = None,
    result_storage: Annotated[
        str | None,
        _option(
            "--result-storage",
            metavar="URL",
            help="Folder, as an fsspec URL that pods can reach, for a result that is too large for the FlowRun.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        _option("--watch", "-w", help="Show the run's phases and log until its end. The exit code is the outcome's."),
    ] = False,
    dry_run: Annotated[
        bool, _option("--dry-run", help="Create nothing; print what would be created, as YAML.")
    ] = False,
    json: Annotated[
        bool,
        _option(
            "--json",
            help="Print one JSON document to stdout: name, namespace, uid; with --watch the outcome, as `run` does.",
        ),
    ] = False,
    namespace: Annotated[
        str | None, _option("--namespace", "-n", help="Namespace of the FlowRun. By default that of the context.")
    ] = None,
    context: Annotated[
        str | None, _option("--context", help="Context of the kubeconfig. By default the current one.")
    ] = None,
    kubeconfig: Annotated[
        str | None, _option("--kubeconfig", help="Path of the kubeconfig. By default as for kubectl.")
    ] = None,
) -> None:
    """Run a flow in Kubernetes, as a FlowRun.

    FILE.py is sent with the modules of its project that it imports. package.module needs an --image that has it. Exits
    with 0 if the run was created, 2 if it was not. With --watch: 0 if the flow completed, 1 if it did not, 3 if it was
    cancelled, 4 if the FlowRun was deleted, 7 if the API server did not answer for a minute, 130 after Ctrl-C. After
    the last two, the run continues.
    """
    if dry_run and watch:
        raise typer.BadParameter("--dry-run creates nothing that could be watched.", param_hint="--watch")
    from flowcluster.cli import report, submit_command
    from flowcluster.kube.choice import Choice

    choice = Choice(kubeconfig, context, namespace)
    args = submit_command.SubmitArgs(
        entrypoint, parameter or [], image, name, workers, cluster, result_storage, choice, watch, dry_run, json
    )
    if not json and not dry_run:
        raise typer.Exit(submit_command.main(args, sys.stdout))
    with report.stdout_of_our_own() as stdout:
        code = submit_command.main(args, stdout)
    raise typer.Exit(code)


def main() -> None:
    """Run the program."""
    try:
        app(prog_name="flowcluster")
    except SystemExit as end:
        if end.code == api.EXIT_USAGE and "flowcluster.cli.run_command" not in sys.modules:
            path = os.environ.get(api.ENV_OUTCOME_PATH)
            if path:
                _report_to_operator(path, "The driver's command line is wrong. The driver's log has the details.")
                raise SystemExit(api.EXIT_NOT_STARTED) from end
        raise


def _report_to_operator(path: str, message: str) -> None:
    """Write an outcome for the operator, which waits for one, although no run began."""
    from flowcluster.cli import run_command

    outcome = api.Outcome(state="Failed", reason="InvalidCommand", message=message, exit_code=api.EXIT_NOT_STARTED)
    run_command.write(outcome, path)


if __name__ == "__main__":
    main()

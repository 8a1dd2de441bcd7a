"""``flowcluster``: the command line's entry point and its list of commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flowcluster_api import driver as api

EXAMPLES = """\b
Examples:
  flowcluster run greetings.py:greetings -p 'names=["arthur", "trillian"]'
  flowcluster run package.module:report -p year=2042 -p config=@config.json
  flowcluster run greetings.py:greetings --json | jq .result
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
        from importlib.metadata import version

        print(f"flowcluster {version('flowcluster')}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Makes typer expect the name of a command even while there is only one."""


@app.command(epilog=EXAMPLES)
def run(
    entrypoint: Annotated[
        str, typer.Argument(metavar="FILE:FLOW", help="FILE.py:FUNCTION or package.module:FUNCTION.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="KEY=VALUE",
            help=(
                "A parameter of the flow, as often as needed. The value is read as JSON if it is JSON and fits, "
                "else it is a text. KEY=@FILE.json reads a file."
            ),
        ),
    ] = None,
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
    from . import driver

    if not json:
        raise typer.Exit(driver.main(entrypoint, parameter or [], os.environ).outcome.exit_code)
    from . import report

    with report.stdout_of_our_own() as stdout:
        ending = driver.main(entrypoint, parameter or [], os.environ)
        print(report.document(*ending), file=stdout)
    raise typer.Exit(ending.outcome.exit_code)


def main() -> None:
    """Entry point of the program."""
    try:
        app(prog_name="flowcluster")
    except SystemExit as end:
        if end.code == api.EXIT_USAGE and "flowcluster.cli.driver" not in sys.modules:
            _tell_operator("The driver's command line is wrong; its log says how.")
        raise


def _tell_operator(message: str) -> None:
    """Leave an outcome where the operator waits for one although no run began."""
    if path := os.environ.get(api.ENV_OUTCOME_PATH):
        from . import driver

        driver.write(
            api.Outcome(state="Failed", reason="InvalidCommand", message=message, exit_code=api.EXIT_USAGE), path
        )


if __name__ == "__main__":
    main()

"""``flowcluster``: the command line's entry point and its list of commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flowcluster_api import driver as api

app = typer.Typer(
    name="flowcluster",
    help="Flows and tasks on temporary clusters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def commands() -> None:
    """Makes typer expect the name of a command even while there is only one."""


@app.command()
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
            help="A parameter of the flow; the value is read as JSON if it is JSON. KEY=@FILE.json reads a file.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
) -> None:
    """Run a flow in this process.

    Exits with 0 if the flow completed, 1 if it did not, 2 if it could not start, 3 if it was cancelled;
    with n if the flow called sys.exit(n).
    """
    # Imported here: other commands and --help need none of it.
    from . import driver

    outcome = driver.main(entrypoint, parameter or [], os.environ)
    if json:
        print(outcome.to_json())
    raise typer.Exit(outcome.exit_code)


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

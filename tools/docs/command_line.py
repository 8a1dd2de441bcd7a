"""The options of the program `flowcluster`, from the parser that it uses."""

from __future__ import annotations

from typing import Any

import typer

from flowcluster.cli.main import app
from tools.docs.markdown import code, plain, table


def command(name: str) -> str:
    """Return what a command does, its arguments and its options."""
    found: Any = typer.main.get_command(app)
    found = found.commands[name]
    usage = f"flowcluster {name} [OPTIONS] " + " ".join(
        each.metavar for each in found.params if each.param_type_name == "argument"
    )
    rows = ((code(_names(each)), plain(each.help or "")) for each in found.params)
    return "\n\n".join([f"```text\n{usage}\n```", plain(found.help), table(("argument or option", "meaning"), rows)])


def commands() -> list[str]:
    """Return the names of the commands."""
    found: Any = typer.main.get_command(app)
    return list(found.commands)


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(parameter.opts)
    return names if parameter.is_flag else f"{names} {parameter.metavar or 'TEXT'}"

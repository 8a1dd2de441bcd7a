"""Command lines of Dask's scheduler and workers, also where a user's template replaces them.

The `args` of a user's template replace those of the operator as a whole. Users set them to add an option. So the
operator adds the options again that the cluster needs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_operator.errors import TemplateError

#: The flags that set an option, such as those of a switch and its opposite; and the tokens to add where none of them is
#: given: a flag and, after it, its value.
Option = tuple[tuple[str, ...], list[str]]


class Program(NamedTuple):
    """The command line that starts a part of a Dask cluster.

    Attributes:
        name: the subcommand of ``dask``.
        arguments: positional arguments.
        options: that the cluster needs.
        fixed: flags whose values a user cannot change, because probes and Services rely on them.
    """

    name: str
    arguments: list[str]
    options: list[Option]
    fixed: frozenset[str] = frozenset()

    def args(self) -> list[str]:
        """Return the whole command line."""
        return ["dask", self.name, *self.arguments, *(token for _, tokens in self.options for token in tokens)]


def completed(container: dict[str, Any], program: Program, field: str) -> dict[str, Any]:
    """Return a container whose command line a template may have replaced, with the options that the cluster needs.

    A command line that does not start the program directly, such as one for a shell, stays as it is (see
    `_without_probe`).

    Raises:
        TemplateError: the command line has another value for an option that the cluster relies on.
    """
    command, args = container.get("command") or [], container.get("args") or []
    if not isinstance(command, list) or not isinstance(args, list):
        raise TemplateError(f"{field}: command and args must be lists")
    if args == program.args():
        if _begin_of_options(command, program) is None:
            return container
        args = []  # the command is a whole command line
    line = [*command, *args]
    begin = _begin_of_options(line, program)
    if begin is None:
        return _without_probe(container, line, program)
    given = _flags(line[begin:])
    for flags, tokens in program.options:
        value = next((given[flag] for flag in flags if flag in given), None)
        if value is None:
            args = [*args, *tokens]
        elif flags[0] in program.fixed and value != tokens[1]:
            raise TemplateError(
                f"{field}.args: {flags[0]} must be {tokens[1]} or left out, not {value}: probes and Services of the "
                "cluster rely on it"
            )
    return {**container, "args": args}


def _begin_of_options(line: list[Any], program: Program) -> int | None:
    """Return the index after ``dask worker``, ``dask-worker`` or the module; None where the line has none of them."""
    starts = (["dask", program.name], [f"dask-{program.name}"], [f"distributed.cli.dask_{program.name}"])
    for index in range(len(line)):
        for start in starts:
            if line[index : index + len(start)] == start:
                return index + len(start)
    return None


def _flags(tokens: list[Any]) -> dict[str, str]:
    """Return the flags among these tokens, each with the token that follows it."""
    found = {}
    for index, token in enumerate(tokens):
        if isinstance(token, str) and token.startswith("--"):
            flag, equals, value = token.partition("=")
            following = tokens[index + 1] if index + 1 < len(tokens) else ""
            found[flag] = value if equals else str(following)
    return found


def _without_probe(container: dict[str, Any], line: list[Any], program: Program) -> dict[str, Any]:
    """Return a container without the operator's readiness probe, unless the command line names the probe's port.

    The process of an unknown command line may not listen on that port, and would never be Ready.
    """
    ports = [tokens[1].lstrip(":") for flags, tokens in program.options if flags[0] == "--dashboard-address"]
    names_port = any(port in str(token) for token in line for port in ports)
    is_ours = (container.get("readinessProbe") or {}).get("httpGet", {}).get("path") == "/health"
    if names_port or not is_ours:
        return container
    return {name: value for name, value in container.items() if name != "readinessProbe"}

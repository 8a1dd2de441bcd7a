"""Parameters of a flow on a command line: ``-p key=value``, ``-p key=@file.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flowcluster._util.suggestions import closest
from flowcluster.cli.startup_error import StartupError
from flowcluster.engine.parameters import accepts

#: What `json` raises for text that is not JSON, has a number of more than 4300 digits, or is nested too deeply.
_NOT_JSON = (ValueError, RecursionError)


class Text(NamedTuple):
    """A text from the command line, and its value as JSON if it is JSON."""

    text: str
    value: Any


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """Return values by name: a `Text`, or the content of a file.

    Raises:
        StartupError: an assignment is invalid (``InvalidParameters``).
    """
    parameters: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise StartupError("InvalidParameters", f"'-p {assignment}' is not a parameter: write -p name=value.")
        parameters[name] = _from_file(name, text[1:]) if text.startswith("@") else _value(text)
    return parameters


def from_json(text: str, source: str) -> dict[str, Any]:
    """Return values by name from one JSON object. Raises `StartupError` that names `source`."""
    try:
        parameters = json.loads(text)
    except _NOT_JSON as error:
        raise StartupError("InvalidParameters", f"{source} is not JSON: {error}.") from None
    if not isinstance(parameters, dict):
        raise StartupError("InvalidParameters", f"{source} must be a JSON object, not {text[:60]}.")
    return parameters


def from_file(path: str) -> dict[str, Any]:
    """Return values by name from a file with one JSON object. Raises `StartupError` that names the file."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise StartupError("InvalidParameters", f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise StartupError("InvalidParameters", f"{path} is not UTF-8: {error}.") from None
    return from_json(text, path)


def fitted(parameters: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Return the values for a function: the JSON value, unless only the text fits the annotation.

    For example, ``-p name=123`` is the text "123" for a parameter that is a str.
    """
    values = {}
    for name, given in parameters.items():
        if not isinstance(given, Text):
            values[name] = given
        elif accepts(function, name, given.value) or not accepts(function, name, given.text):
            values[name] = given.value
        else:
            values[name] = given.text
    return values


def _value(text: str) -> Text:
    try:
        return Text(text, json.loads(text))
    except _NOT_JSON:
        return Text(text, text)


def _from_file(name: str, path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        message = f"Parameter '{name}': {path or 'after the @'}: {error.strerror}{closest(path, _files_beside(path))}."
        raise StartupError(
            "InvalidParameters", f"{message} For a text that begins with @, write -p {name}='\"@…\"'."
        ) from None
    except _NOT_JSON as error:
        raise StartupError("InvalidParameters", f"Parameter '{name}': {path} is not JSON: {error}.") from None


def _files_beside(path: str) -> list[str]:
    directory = os.path.dirname(path)
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory or ".")]
    except OSError:
        return []

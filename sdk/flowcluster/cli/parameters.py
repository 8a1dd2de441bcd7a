"""Parameters of a flow as they are written on a command line: ``-p key=value``, ``-p key=@file.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .problems import Problem


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """Values by name; each is read as JSON where it is JSON, else taken as the text it is.

    Raises `Problem` (``InvalidParameters``).
    """
    parameters: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise Problem("InvalidParameters", f"'-p {assignment}' is no parameter: write -p name=value.")
        parameters[name] = _from_file(name, text[1:]) if text.startswith("@") else _value(text)
    return parameters


def from_json(text: str, source: str) -> dict[str, Any]:
    """Values by name from one JSON object. Raises `Problem` that names `source`."""
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError as error:
        raise Problem("InvalidParameters", f"{source} is not JSON: {error}.") from None
    if not isinstance(parameters, dict):
        raise Problem("InvalidParameters", f"{source} must be a JSON object, not {text[:60]}.")
    return parameters


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _from_file(name: str, path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise Problem("InvalidParameters", f"Parameter '{name}': {path}: {error.strerror}.") from None
    except ValueError as error:
        raise Problem("InvalidParameters", f"Parameter '{name}': {path} is not JSON: {error}.") from None

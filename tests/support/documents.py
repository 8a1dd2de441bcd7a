"""Documents that lead through commands: their blocks of code, as a reader would copy them."""

from __future__ import annotations

import pathlib
import re
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^# ([\w.-]+\.(?:py|yaml))\n")


class Step(NamedTuple):
    """What a reader does at one place of a document: write a file, or execute a command.

    Attributes:
        file: the name of the file; None for a command.
        text: content of the file, or the command.
        shown: lines that the command prints, as far as the document shows them.
    """

    file: str | None
    text: str
    shown: tuple[str, ...] = ()


def steps(document: pathlib.Path) -> list[Step]:
    """Return what a reader does, in the order of the document.

    A block whose first line is the comment ``# NAME.py`` or ``# NAME.yaml`` is that file. In blocks of type `console`,
    a line that begins with ``$`` is a command. The lines between two commands are output of the first one.
    """
    found: list[Step] = []
    for language, text in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if named := _NAMED.match(text):
            found.append(Step(named[1], text))
        elif language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, *shown = part.splitlines()
                found.append(Step(None, command, tuple(line for line in shown if line)))
    return found

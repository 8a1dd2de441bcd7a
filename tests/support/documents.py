"""Documents with commands: their blocks of code, as a reader copies them, and where each one runs.

A comment states where blocks run. ``<!-- run: here -->`` means on this machine, without a Kubernetes;
``<!-- run: in Kubernetes -->`` means with one. Above a block, the comment is about that block. Anywhere else, it is
about the whole page. ``<!-- not run: REASON -->`` above a block excludes it.
"""

from __future__ import annotations

import pathlib
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

HERE, IN_KUBERNETES = "here", "in Kubernetes"
#: Languages of blocks that a reader executes.
EXECUTABLE = frozenset({"python", "console", "bash", "sh", "shell"})

_BLOCK = re.compile(
    r"^(?:[ ]*<!--[ ](?P<mark>[^\n]*?)[ ]-->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_PLACE = re.compile(r"^<!-- run: (.*) -->$", re.MULTILINE)
_NAMED = re.compile(r"^# ([\w.-]+\.(?:py|yaml))\n")
#: What differs from run to run: times of day, seconds, ages, and names that are made.
_VARYING = (
    (r"\d\d:\d\d:\d\d(\.\d{3})?", "TIME"),
    (r"\[ *\d+\.\ds\]", "SECONDS"),
    (r" \d+[ms][\dms]*( |$)", r" AGE\1"),
    (r"[Ff]low run '[a-z]+-[a-z]+'", "flow run 'NAME'"),
    (r"\b[a-z]+(-[a-z]+)?-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "NAME"),
    (r"-[0-9a-f]{8}-(\d+)\b", r"-HASH-\1"),
    (r" +", " "),
)


class Block(NamedTuple):
    """A block of code of a document.

    Attributes:
        language: what it is written in; empty when the document does not state it.
        text: its content, without the indentation of the block.
        mark: the text of the comment directly above it; empty without one.
        place: where it runs by its own comment or by that of the page; empty when neither states it.
    """

    language: str
    text: str
    mark: str
    place: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty when it is."""
        return self.mark.partition("not run: ")[2]

    @property
    def file(self) -> str | None:
        """The name of the file that it is, by the comment ``# NAME.py`` or ``# NAME.yaml`` in its first line."""
        named = _NAMED.match(self.text)
        return named[1] if named else None


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


def blocks(document: pathlib.Path) -> list[Block]:
    """Return the blocks of a document in their order."""
    text = document.read_text(encoding="utf-8")
    of_page = _place_of_page(text)
    found = []
    for match in _BLOCK.finditer(text):
        mark = match["mark"] or ""
        own = mark.removeprefix("run: ") if mark.startswith("run: ") else ""
        found.append(Block(match["language"], textwrap.dedent(match["text"]), mark, own or of_page))
    return found


def _place_of_page(text: str) -> str:
    """Return the place of the comment that is not above a block, or an empty text."""
    for match in _PLACE.finditer(text):
        if not text[match.end() + 1 :].lstrip(" ").startswith("```"):
            return match[1]
    return ""


def steps(document: pathlib.Path, place: str = IN_KUBERNETES) -> list[Step]:
    """Return the steps of a reader in a place, in the order of the document.

    A block with a file name is that file. Another Python block is a program that runs. In blocks of type
    `console`, a line that begins with ``$`` is a command. The lines between two commands are output of the first one.
    """
    found: list[Step] = []
    for number, block in enumerate(blocks(document)):
        if block.mark.startswith(("not run: ", "demo: ")) or block.place != place:
            continue
        if block.file is not None:
            found.append(Step(block.file, block.text))
        elif block.language == "python":
            found += [Step(f"block_{number}.py", block.text), Step(None, f"python block_{number}.py")]
        elif block.language == "console":
            found += _commands(block.text)
    return found


def _commands(text: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        # A command that ends with a backslash continues in the next line.
        end = next(number for number, line in enumerate(lines) if not line.endswith("\\")) + 1
        yield Step(None, "\n".join(lines[:end]), tuple(line for line in lines[end:] if line))


def alike(text: str) -> list[str]:
    """Return the lines of a text, with what differs between runs replaced."""
    for pattern, replacement in _VARYING:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.splitlines()]


def missing(shown: Iterable[str], printed: str) -> list[str]:
    """Return the lines that a document shows and a command did not print, or not in their order."""
    found = iter(alike(printed))
    return [line for line in alike("\n".join(shown)) if line not in found]

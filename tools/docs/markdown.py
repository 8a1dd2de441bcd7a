"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Characters that mean something in Markdown, in HTML or in a cell of a table.
_SPECIAL = {**{each: f"\\{each}" for each in "\\*_[]"}, "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_CODE = re.compile(r"(`+[^`]+`+)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Cells are Markdown, in which ``|`` occurs only inside of code."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """Return a text as code inside a line; nothing for an empty text."""
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """Return a text of which only code in backquotes has a meaning in Markdown."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(each, each) for each in text)

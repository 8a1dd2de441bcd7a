"""Comments above the lines of a file, which describe what the lines set."""

from __future__ import annotations

from collections.abc import Sequence


def comment_above(line: int, lines: Sequence[str], mark: str) -> str:
    """Return the text of the comment that ends in the line above a line; an empty text without one.

    Args:
        line: index of the line below the comment.
        lines: all lines of the file.
        mark: what a line of the comment begins with, such as ``#``.
    """
    found: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith(mark):
        found.insert(0, text.removeprefix(mark).strip())
        line -= 1
    return " ".join(found)

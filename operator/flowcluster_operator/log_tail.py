"""The last line of a log. Pure."""

from __future__ import annotations


def last_line(text: str) -> str:
    """Return the last line that is not blank, empty if there is none. In a traceback, it is the line with the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""

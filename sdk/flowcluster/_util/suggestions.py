"""Suggestions for misspelled names in error messages."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` with the most similar of the known names; an empty text if none is similar."""
    import difflib  # imported here: most runs have no misspelled names

    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{found[0]}'?)" if found else ""

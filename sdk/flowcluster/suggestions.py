"""What somebody may have meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the most similar of the known names; empty if none is similar."""
    import difflib  # imported here: most runs have no wrong names

    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{found[0]}'?)" if found else ""

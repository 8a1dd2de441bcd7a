"""Conversion of users' texts for systems that do not accept every text.

A Python text can contain surrogates, such as those of a file name that is not UTF-8. UTF-8 does not have them, and a
process of Dask closes its connection if it has to send one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

#: Maximum characters of a name. A message of Dask contains each name several times.
_NAME_LIMIT = 200


def as_bytes(text: str) -> bytes:
    """Return the text in UTF-8, with surrogates encoded too: different bytes for different texts."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> str:
    """Return the text of bytes that `as_bytes` returned."""
    return data.decode("utf-8", "surrogatepass")


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 has all characters of the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_not_utf8(value: object) -> str | None:
    """Return the first text in a value of dicts and lists that UTF-8 cannot encode; None if there is none."""
    if isinstance(value, str):
        return None if is_utf8(value) else value
    items: Iterable[object] = ()
    if isinstance(value, Mapping):
        items = (*value.keys(), *value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        items = value
    return next((found for item in items if (found := first_not_utf8(item)) is not None), None)


def escaped(text: str) -> str:
    """Return the text with surrogates as escapes, as Python and JSON write them."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def as_name(text: str, *, in_ascii: bool = False) -> str:
    """Return a name for other systems that resembles the text: printable, in UTF-8 or ASCII, of limited length.

    Names of different texts can be equal.
    """
    short = text if len(text) <= _NAME_LIMIT else f"{text[: _NAME_LIMIT - 3]}..."
    if short.isprintable() and (short.isascii() or not in_ascii):
        return short
    return "".join(one if _can_stay(one, in_ascii) else one.encode("unicode_escape").decode() for one in short)


def _can_stay(character: str, in_ascii: bool) -> bool:
    return character.isprintable() and (character.isascii() or not in_ascii)


def digest(*texts: str) -> str:
    """Return 16 hexadecimal digits that identify the texts."""
    made = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = as_bytes(text)
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()

"""Strategies of generated tests: text and JSON, with the characters and shapes that break parsers."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

#: Of each kind a few: hypothesis' own alphabet is all of Unicode, which takes a second to load. The last ones are a
#: letter that grows when it is lowered, a character past 16 bits, and halves of such ones, which UTF-8 does not have.
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \t\n\r\x00\x1b\x7f\xa0é€ßİ\u2028😀"
_HALVES = "\ud800\udcff"

TEXT = st.text(_CHARACTERS + _HALVES)
#: Text that UTF-8 can hold.
CLEAN_TEXT = st.text(_CHARACTERS)


def json_values(keys: st.SearchStrategy[str] = CLEAN_TEXT) -> st.SearchStrategy[Any]:
    """Values of any shape that JSON can hold; `keys` are those of objects."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CLEAN_TEXT
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )

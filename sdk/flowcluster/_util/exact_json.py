"""Detection of values that JSON would change silently: non-finite numbers, keys that are not text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from flowcluster._util.texts import is_utf8

#: The range of whole numbers that the Kubernetes API server keeps; it converts others to floating-point numbers.
SMALLEST, LARGEST = -(2**63), 2**63 - 1


def change(value: Any, *, keys: bool = True, in_kubernetes: bool = False) -> str | None:
    """Return the first place in a value that JSON would change, with the reason; None if there is none.

    Args:
        value: a value that JSON can express, or pydantic.
        keys: whether keys that are not text count.
        in_kubernetes: whether the JSON is sent through the Kubernetes API server.

    Raises:
        RecursionError: the value contains itself.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return None if is_utf8(value) else " has a character that UTF-8 does not have"
    if isinstance(value, float):
        return None if math.isfinite(value) else f" is {float(value)}, which JSON does not have"
    if isinstance(value, int):
        if in_kubernetes and not SMALLEST <= value <= LARGEST:
            return " is a whole number of more than 64 bits, which the API server rounds: pass it as text"
        return None
    for place, item in _items(value):
        if keys and isinstance(value, Mapping) and not isinstance(place, str):
            return f" has the key {place!r}, which JSON changes to text: use text as key"
        if isinstance(value, Mapping) and isinstance(place, str) and not is_utf8(place):
            return " has a key with a character that UTF-8 does not have"
        if (found := change(item, keys=keys, in_kubernetes=in_kubernetes)) is not None:
            return f"[{place!r}]{found}"
    return None


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple | AbstractSet):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif hasattr(type(value), "__pydantic_fields__"):
        yield from vars(value).items()

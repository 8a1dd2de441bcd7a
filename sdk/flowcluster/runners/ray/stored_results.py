"""Results of task runs in the format that Ray keeps.

This module pickles them, not Ray. So a result that cannot be pickled fails its own run, with the run's name. Large
buffers, mostly of arrays, stay outside the pickle, where all processes of a node share them without a copy.
"""

from __future__ import annotations

import pickle
from typing import Any

from flowcluster._util import pickling
from flowcluster.runners.arguments import PLAIN

#: Smallest size in bytes of a buffer that stays outside the pickle.
_LARGE = 16_384


class Packed:
    """A pickled value and its large buffers."""

    __slots__ = ("buffers", "data")

    def __init__(self, data: Any, buffers: list[Any]) -> None:
        self.data = data
        self.buffers = buffers

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (pickle.PickleBuffer(self.data), self.buffers)


def pack(value: Any) -> bytes | Packed:
    """Return a value in the format that Ray keeps. Exceptions from pickling the value are raised."""
    if type(value) in PLAIN:
        return pickle.dumps(value, protocol=5)
    buffers: list[Any] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < _LARGE:
            return True
        buffers.append(buffer)
        return False

    data = pickling.dumps(value, is_small)
    return Packed(data, buffers) if buffers else data


def unpack(packed: bytes | Packed) -> Any:
    """Return the value. Shared arrays in it are read-only. Exceptions from unpickling are raised."""
    if isinstance(packed, bytes):
        return pickle.loads(packed)
    return pickle.loads(packed.data, buffers=packed.buffers)

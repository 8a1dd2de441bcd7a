"""Pickling of functions and values for other processes, with the code of scripts.

Only this module, `cloud_pickler` and `flowcluster.project.by_value` use cloudpickle.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pickle import Pickler
from types import ModuleType
from typing import Any

from flowcluster.project import by_value


def dumps(value: object, apart: Callable[[Any], bool] | None = None) -> bytes:
    """Return the value as bytes for ``pickle.loads``; functions and classes of scripts with their code.

    Args:
        value: the value.
        apart: called with each ``pickle.PickleBuffer`` in the value. If it returns False, ``pickle.loads`` needs that
            buffer, too.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    # Imported here: only runs that leave the process need it.
    import cloudpickle

    from flowcluster._util.cloud_pickler import CloudPickler

    known = cloudpickle.list_registry_pickle_by_value()
    for name in by_value.scripts - known:
        if name in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])
    return CloudPickler.dumps(value, apart)


def dump_small(value: object, limit: int) -> bytes | None:
    """Return the value as bytes for ``pickle.loads``; None if there are more than `limit`.

    The work ends soon after the limit is reached, so a large value takes little time.

    Raises:
        Exception: whatever the value's own pickling raises before that.
    """
    if type(value) in (str, bytes, bytearray) and len(value) > limit:  # type: ignore[arg-type]
        return None
    file = _Bounded(limit)
    try:
        try:
            Pickler(file, protocol=5).dump(value)
        except _TooLarge:
            raise
        except Exception:
            # Its class or function may have to be sent by value.
            from flowcluster._util.cloud_pickler import CloudPickler

            file = _Bounded(limit)
            CloudPickler(file, protocol=5).dump(value)
    except _TooLarge:
        return None
    return b"".join(file.parts)


class _TooLarge(Exception):
    pass


class _Bounded:
    def __init__(self, limit: int) -> None:
        self.left = limit
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise _TooLarge
        self.parts.append(bytes(data))


def dumps_by_value(value: object, *modules: ModuleType) -> bytes:
    """Return the value as bytes for ``pickle.loads`` in processes that cannot import `modules`.

    What the value uses of these modules, such as its class, is sent with its code. cloudpickle itself pickles it: what
    `CloudPickler` writes can only be read where flowcluster is installed.
    """
    import cloudpickle

    with _by_value:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            data: bytes = cloudpickle.dumps(value, protocol=5)
            return data
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


_by_value = threading.Lock()

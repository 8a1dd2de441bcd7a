"""Sending functions and values to other processes. Only this module and `cloud_pickler` use cloudpickle."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pickle import Pickler
from types import ModuleType
from typing import Any

#: Names of modules that other processes cannot import, such as a script given by its file: what they
#: define is sent with its code.
scripts: set[str] = set()


def dumps(value: object, apart: Callable[[Any], bool] | None = None) -> bytes:
    """The value as bytes for ``pickle.loads``; functions and classes of scripts with their code.

    `apart` is called with each ``pickle.PickleBuffer`` in the value; what it takes, by returning False, has
    to be given to ``pickle.loads`` as well. Raises whatever the value's own pickling raises.
    """
    # Imported here: only runs that leave the process need it.
    import cloudpickle

    from flowcluster.cloud_pickler import CloudPickler

    known = cloudpickle.list_registry_pickle_by_value()
    for name in scripts - known:
        if name in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])
    return CloudPickler.dumps(value, apart)


def dump_small(value: object, limit: int) -> bytes | None:
    """The value as bytes for ``pickle.loads``, or None if there are more than `limit`.

    Costs little for a large value: the work ends soon after the limit is reached. Raises whatever the value's
    own pickling raises before that.
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
            # It may know its class or function only by value.
            from flowcluster.cloud_pickler import CloudPickler

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


def dumps_by_value(value: object, module: ModuleType) -> bytes:
    """The value as bytes for ``pickle.loads`` in processes that cannot import `module`, where its class is defined."""
    import cloudpickle

    from flowcluster.cloud_pickler import CloudPickler

    with _by_value:
        cloudpickle.register_pickle_by_value(module)
        try:
            return CloudPickler.dumps(value)
        finally:
            cloudpickle.unregister_pickle_by_value(module)


_by_value = threading.Lock()


def travels_by_value(module: str) -> bool:
    """Whether other processes cannot import `module` by this name."""
    if module == "__main__" or module in scripts:
        return True
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()


def is_lost(thing: Any) -> bool:
    """Whether a class or function is of a script, and its name does not lead to it in this process.

    On a worker, what a script defines is there by value. Its ``__main__`` is another one.
    """
    name, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    if type(name) is not str or "<" in qualified:
        return False
    if name in sys.modules and name != "__main__" and name not in scripts:
        return False
    found: Any = sys.modules.get(name)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found is not thing

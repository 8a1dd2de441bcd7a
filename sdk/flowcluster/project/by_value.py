"""Modules that other processes cannot import: what they define is sent with its code."""

from __future__ import annotations

import sys
from typing import Any

#: Names of such modules, for instance of a script given by its file.
scripts: set[str] = set()


def travels_by_value(module: str) -> bool:
    """Return whether other processes cannot import `module` by this name."""
    if module == "__main__" or module in scripts:
        return True
    # Imported here: only runs that leave the process need it.
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()


def is_lost(thing: Any) -> bool:
    """Return whether a class or function is of a script, and its name does not lead to it in this process.

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

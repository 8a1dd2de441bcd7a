"""Modules that other processes cannot import, such as scripts. Their functions and classes are sent by value."""

from __future__ import annotations

import sys
from typing import Any

#: Names of such modules, for example of a script that was loaded by its path.
scripts: set[str] = set()


def travels_by_value(module: str) -> bool:
    """Return whether other processes cannot import `module` by its name."""
    if module == "__main__" or module in scripts:
        return True
    # Imported here: only runs that leave the process need it.
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()


def is_lost(thing: Any) -> bool:
    """Return whether a class or function belongs to a script, and cannot be found by its name in this process.

    A worker gets the functions and classes of a script by value. The worker's own ``__main__`` is another module.
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

"""Sending functions and values to other processes. The only module that uses cloudpickle."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
    import cloudpickle  # type: ignore[import-untyped]

    known = cloudpickle.list_registry_pickle_by_value()
    for name in scripts - known:
        if name in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])
    data: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=apart)
    return data


def travels_by_value(module: str) -> bool:
    """Whether other processes cannot import `module` by this name."""
    if module == "__main__" or module in scripts:
        return True
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()

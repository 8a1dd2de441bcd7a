"""Generated names of flow runs, and names of flows and tasks by their functions."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

from flowcluster._util.texts import as_bytes
from flowcluster.project.source import public


def run_name() -> str:
    """Return a new name for a flow run: ``olivine-swan``."""
    # Imported here: a run with a given name needs no words.
    from flowcluster._util.words import ADJECTIVES, ANIMALS

    number = int.from_bytes(os.urandom(4), "big")
    rest, adjective = divmod(number, len(ADJECTIVES))
    return f"{ADJECTIVES[adjective]}-{ANIMALS[rest % len(ANIMALS)]}"


def flow_name(function: Callable[..., Any]) -> str:
    """Return the default name of a flow: its function's name, with dashes."""
    return function_name(function).replace("_", "-")


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, a partial or a callable object."""
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")


def task_key(function: Callable[..., Any]) -> str:
    """Return eight hexadecimal digits that are the same for a task function in each run.

    A script's functions belong to ``__main__`` or to the script's name, depending on its start. Both have the same key.
    """
    module = public(getattr(function, "__module__", None) or "")
    if module == "__main__":
        module = os.path.splitext(os.path.basename(getattr(sys.modules["__main__"], "__file__", None) or module))[0]
    qualified = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{zlib.crc32(as_bytes(f'{module}.{qualified}')):08x}"

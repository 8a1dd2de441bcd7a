"""Names of flow runs and task runs."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

from flowcluster.project.shared import public
from flowcluster.texts import as_bytes


def run_name() -> str:
    """A new name for a flow run, easy to say and to find again: ``olivine-swan``."""
    # Imported here: a run whose name is given from outside needs no words.
    from flowcluster.words import ADJECTIVES, ANIMALS

    number = int.from_bytes(os.urandom(4), "big")
    rest, adjective = divmod(number, len(ADJECTIVES))
    return f"{ADJECTIVES[adjective]}-{ANIMALS[rest % len(ANIMALS)]}"


def flow_name(function: Callable[..., Any]) -> str:
    """The name of a flow that is given none: its function's, with dashes."""
    return function_name(function).replace("_", "-")


def function_name(function: Callable[..., Any]) -> str:
    """The name of a function, or of what stands for one (a partial, a callable object)."""
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")


def task_key(function: Callable[..., Any]) -> str:
    """Eight hexadecimal digits that stay the same for a task function from run to run.

    A script's functions belong to ``__main__`` or to the script's name, depending on how it was
    started; both give the same key.
    """
    module = public(getattr(function, "__module__", None) or "")
    if module == "__main__":
        module = os.path.splitext(os.path.basename(getattr(sys.modules["__main__"], "__file__", None) or module))[0]
    qualified = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{zlib.crc32(as_bytes(f'{module}.{qualified}')):08x}"

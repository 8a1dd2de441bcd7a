"""The public names of a module, as instructions for mkdocstrings, which reads their signatures and docstrings."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType

#: The module whose names other modules define: they are described once, there.
_TOP = "flowcluster"


def module(name: str) -> str:
    """Return a section for a module: what it is for, and each of its public names."""
    found = import_module(name)
    summary = (inspect.getdoc(found) or "").partition("\n\n")[0]
    above = set() if name == _TOP else set(public_names(import_module(_TOP)))
    names = [
        f"::: {name}.{each}\n    options:\n      heading_level: 3" for each in public_names(found) if each not in above
    ]
    return "\n\n".join([f"## {name}", summary, *names])


def public_names(found: ModuleType) -> list[str]:
    """Return the names of ``__all__``; of a module without it, the classes and functions that it defines."""
    if hasattr(found, "__all__"):
        return list(found.__all__)
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == found.__name__
    ]

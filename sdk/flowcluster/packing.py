"""Finding the file of a flow and packing it, so that it can run where no image was built for it."""

from __future__ import annotations

import ast
import os
import re
import sys
from typing import Any, NamedTuple

from flowcluster import pickling

#: Bytes that Kubernetes takes in a ConfigMap.
LIMIT = 1024 * 1024

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class Code(NamedTuple):
    """A packed file.

    Attributes:
        file: its name, without folders.
        content: what is in it.
    """

    file: str
    content: bytes


class Place(NamedTuple):
    """Where a flow is to be found.

    Attributes:
        where: path of its file, or dotted name of its module.
        name: of the flow in there.
        is_file: whether `where` is a file.
    """

    where: str
    name: str
    is_file: bool


def place_of(flow: Any) -> Place:
    """The place of a flow. Raises ValueError if no other process could find it."""
    module = sys.modules.get(flow.fn.__module__)
    name = next((key for key, value in vars(module).items() if value is flow), None) if module else None
    if module is None or name is None:
        raise ValueError(
            f"Flow {flow.name!r} cannot be found by name: only a flow that a module has as a variable of its own can "
            "be submitted, with its options as they stand there."
        )
    # Of ``python -m package.module`` the real name stands there.
    spec = module.__spec__
    dotted = spec.name if spec is not None else module.__name__
    # A file that was loaded as a script can have a dot in its name.
    if ("." in dotted and dotted not in pickling.scripts) or hasattr(module, "__path__"):
        return Place(dotted, name, is_file=False)
    path = getattr(module, "__file__", None)
    if not path or not os.path.isfile(path):
        raise ValueError(f"Flow {flow.name!r} is in no file: write it into one, such as flow.py, and import it here.")
    return Place(path, name, is_file=True)


def place_at(entrypoint: str) -> Place:
    """The place that ``FILE.py:FUNCTION`` or ``package.module:FUNCTION`` means."""
    where, _, name = entrypoint.rpartition(":")
    return Place(where, name, where.endswith(".py"))


def packed(path: str, *, alone: bool) -> Code:
    """The file at `path`. Raises ValueError if it cannot be packed; with `alone`, if it needs files beside it."""
    file = os.path.basename(path)
    if not _KEY.fullmatch(file):
        raise ValueError(f"{file!r} cannot be packed: name the file with letters, digits, '-', '_' and '.' alone.")
    with open(path, "rb") as opened:
        content = opened.read()
    if (size := len(content) + len(file)) > LIMIT:
        raise ValueError(
            f"{path} has {size / LIMIT:.1f} MiB, and Kubernetes takes 1 MiB: build an image with it, and submit "
            "package.module:FUNCTION with that image."
        )
    if relative := _relative_import(path, content):
        raise ValueError(
            f"{file} imports its neighbours relatively ({relative}), which only a module of a package can: build "
            "an image with the package, and submit package.module:FUNCTION with that image."
        )
    if alone and (beside := _imported_from_beside(path, content)):
        raise ValueError(
            f"{file} imports what is beside it ({', '.join(beside)}), and only one file is packed: give an image that "
            "has it."
        )
    return Code(file, content)


def _relative_import(path: str, content: bytes) -> str | None:
    """Return the first relative import at the file's top level; None for a file that is not valid Python.

    The driver reports an invalid file, with the line.
    """
    try:
        statements = ast.parse(content, path).body
    except (SyntaxError, ValueError):
        return None
    for node in statements:
        if isinstance(node, ast.ImportFrom) and node.level:
            return f"from {'.' * node.level}{node.module or ''} import {node.names[0].name}"
    return None


def _imported_from_beside(path: str, content: bytes) -> list[str]:
    """Names of modules in the file's folder that it imports."""
    folder, own = os.path.split(os.path.abspath(path))
    names = set()
    for node in ast.walk(ast.parse(content, path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(
        name
        for name in names - {own.removesuffix(".py")} - sys.stdlib_module_names
        if os.path.isfile(os.path.join(folder, f"{name}.py"))
        or os.path.isfile(os.path.join(folder, name, "__init__.py"))
    )

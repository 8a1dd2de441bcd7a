"""The names in a code object: global variables, attributes of the project's modules, imported modules."""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flowcluster._output.tracebacks import is_of_project
from flowcluster.project import modules
from flowcluster.project.source import Source, public


class Names(NamedTuple):
    """Names in a code object and in those within it.

    Attributes:
        loaded: read as global variables.
        attributes: read as attributes, of anything.
        imported: modules, each with the level of a relative import and the names that are imported from it.
    """

    loaded: frozenset[str]
    attributes: frozenset[str]
    imported: frozenset[tuple[str, int, tuple[str, ...]]]


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> Names:
    """Return the names that the code refers to."""
    loaded, attributes, imported = set(), set(), set()
    before: list[Any] = [0, 0]
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            loaded.add(instruction.argval)
        elif name in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
            attributes.add(instruction.argval)
        elif name == "IMPORT_NAME":
            level, taken = before
            imported.add((instruction.argval, level if isinstance(level, int) else 0, tuple(taken or ())))
        # The level and the list of names are loaded before the import.
        before = [before[1], instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            loaded |= inner.loaded
            attributes |= inner.attributes
            imported |= inner.imported
    return Names(frozenset(loaded), frozenset(attributes), frozenset(imported))


def globals_of(code: types.CodeType, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of global variables that the code reads, and of attributes of the project's modules."""
    names = names_in(code)
    for name in sorted(names.loaded & variables.keys()):
        if name.startswith("__") and name.endswith("__"):
            continue  # the location of the code, such as `__name__` of a script
        value = variables[name]
        yield name, value
        if isinstance(value, types.ModuleType):
            yield from _attributes(name, value, names.attributes, frozenset())


def _attributes(
    path: str, module: types.ModuleType, attributes: frozenset[str], above: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    if not is_of_project(getattr(module, "__file__", None) or "") or module.__name__ in above:
        return
    for name in sorted(attributes & vars(module).keys()):
        value = vars(module)[name]
        yield f"{path}.{name}", value
        if isinstance(value, types.ModuleType):
            yield from _attributes(f"{path}.{name}", value, attributes, above | {module.__name__})


def imports_of(code: types.CodeType, variables: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield names and digests of the project's files that the code imports when it runs."""
    importer = str(variables.get("__name__"))
    for name, level, taken in sorted(names_in(code).imported):
        try:
            full = importlib.util.resolve_name("." * level + name, variables.get("__package__")) if level else name
            full = public(full)
            sources = modules.sources_for(importer, full)
            # A name that is imported from a package can be one of its modules.
            for each in (full, *(f"{full}.{one}" for one in taken if one != "*")):
                content = _content(each) if sources is None else _sent_content(each, sources)
                if content is not None:
                    yield each, hashlib.sha256(content).digest()
        except (ImportError, ValueError, AttributeError, OSError):
            continue  # it cannot be found: the code itself raises the error when it runs


def _content(name: str) -> bytes | None:
    """Return the file of a module, if it is the project's. Raises what a search for the module raises."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.has_location or not is_of_project(spec.origin or ""):
        return None
    with open(spec.origin or "", "rb") as file:
        return file.read()


def _sent_content(name: str, sources: Mapping[str, Source]) -> bytes | None:
    """Return the file of a module that was sent to this worker with the flow run."""
    source = sources.get(name)
    return source.text if source is not None and source.path else None

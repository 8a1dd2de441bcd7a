"""Discovery of a project's modules: those whose files lie below the script's folder or the working directory.

Installed packages, Python's own modules and folders that begin with a dot are excluded. A module belongs to the project
when it is loaded, when an import statement of the script or of another such module names it, or when its package
belongs to the project.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any

from flowcluster.project import files, modules
from flowcluster.project.source import PREFIX, Project, Source, public

MIB = 1024 * 1024
#: Maximum bytes of all files of a project, and of one file that belongs to the project only because of its package.
LIMIT, FILE_LIMIT = 10 * MIB, MIB

#: Further folders with modules of the project, such as the folder of unpacked code.
roots: set[str] = set()

_OWN = frozenset({"flowcluster", "flowcluster_api", "__main__", "__mp_main__"})
_PYTHON = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))

_lock = threading.Lock()


def here(scripts: Iterable[str]) -> Project | None:
    """Return the project of the current code, also inside a task on a worker; None if it has no modules.

    Raises:
        ValueError: the project is too large.
    """
    current = modules.current()
    return current[0] if current is not None else find(scripts)


def find(scripts: Iterable[str]) -> Project | None:
    """Return the project of this process; None if it has no modules.

    Args:
        scripts: names of modules that are sent by value.

    Raises:
        ValueError: the project is too large.
    """
    by_value = frozenset({"__main__", *scripts})
    with _lock:
        search = Search(_all_roots(by_value), by_value)
        search.run()
        if not search.sources:
            return None
        project = _project(tuple(search.sources.items()), by_value)
    modules.found(project)
    return project


@functools.lru_cache(maxsize=4)
def _project(sources: tuple[tuple[str, Source], ...], scripts: frozenset[str]) -> Project:
    return Project(dict(sources), scripts)


def _all_roots(scripts: frozenset[str]) -> set[str]:
    found = {os.path.abspath(os.getcwd()), *roots}
    for name in scripts:
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if path and not _is_foreign(os.path.abspath(path)):
            package = getattr(module, "__package__", None) or ""
            # For a symbolic link, Python imports modules from the folder of its target.
            found |= {_folder_of(place, package) for place in (os.path.abspath(path), os.path.realpath(path))}
    return found


def _folder_of(path: str, package: str) -> str:
    """Return the folder of a script; for a module in a package, as in ``python -m shop.report``, the package's."""
    for _ in package.split(".") if package else ():
        path = os.path.dirname(path)
    return os.path.dirname(path)


def _is_foreign(path: str) -> bool:
    """Return whether a file belongs to Python itself or to an installed package."""
    return path.startswith(_PYTHON) or not files.FOREIGN.isdisjoint(path.split(os.sep))


class Search:
    """Collects the modules of a project.

    Attributes:
        sources: the modules that were found, by name.
        leads_above: whether a relative import leads above the folder of the packed file.

    Args:
        folders: folders that contain the files of the project.
        scripts: names of modules that are sent by value.
        path: folders in which modules are searched, like ``sys.path``; None for the modules that this process finds.
    """

    def __init__(self, folders: set[str], scripts: frozenset[str], path: list[str] | None = None) -> None:
        self._path = path
        self.sources: dict[str, Source] = {}
        self._folders = {f"{folder.rstrip(os.sep)}{os.sep}" for folder in folders}
        self._folders |= {f"{os.path.realpath(folder).rstrip(os.sep)}{os.sep}" for folder in folders}
        self._scripts = scripts
        self._size = 0
        self._spare: dict[str, str] = {}
        self._todo: list[tuple[str, str, bytes]] = []
        self.leads_above = False

    def add(self, name: str) -> None:
        """Collect a module and those that it imports. Raises ValueError if they are too large."""
        self._add_named(name)
        self.follow()

    def run(self) -> None:
        """Collect the modules. Raises ValueError if they are too large."""
        for name, module in list(sys.modules.items()):
            if name in self._scripts:
                self._script(module)
            elif isinstance(module, ModuleType) and module.__name__ == name:
                self._add_loaded(name)
        self.follow()

    def follow(self) -> None:
        """Add the modules that the added ones import."""
        while self._todo:
            self.imports_of(*self._todo.pop())
        if self._size > LIMIT:
            raise ValueError(_too_large(self.sources, self._size))
        self._add_spare()

    def is_ours(self, path: str) -> bool:
        """Return whether a file lies in the project."""
        return any(
            path.startswith(folder) and not any(part.startswith(".") for part in path[len(folder) :].split(os.sep)[:-1])
            for folder in self._folders
        ) and not _is_foreign(path)

    def _script(self, module: Any) -> None:
        path = getattr(module, "__file__", None)
        if path and os.path.isfile(path):
            if self.is_ours(os.path.abspath(path)):
                self.imports_of(path, getattr(module, "__package__", None) or "", files.read(path))
            return
        # An interactive session, such as a notebook, has no file: only what it defines is known.
        for value in list(vars(module).values()):
            for each in (value, *(list(vars(value).values()) if isinstance(value, type) else ())):
                for name in _names_in(_code_of(each)):
                    self._add_named(name)

    def _add_loaded(self, name: str) -> None:
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if (
            self._path is not None
            or name.startswith(PREFIX)
            or name.partition(".")[0] in _OWN
            or not path
            or not path.endswith(".py")
        ):
            return
        if self.is_ours(os.path.abspath(path)) and os.path.isfile(path):
            self._add(name, os.path.abspath(path), is_package=hasattr(module, "__path__"))

    def _add_named(self, name: str) -> None:
        """Add a module that an import statement names, with its parents, if it is the project's."""
        top, *rest = name.split(".")
        if not top or top in _OWN or top in self._scripts:
            return
        if top in sys.stdlib_module_names and not self._is_beside(top):
            return
        if top not in self.sources:
            spec = self._spec(top)
            if spec is None or not self._add_spec(top, spec):
                return
        # A package with an __init__.py has all its modules in `sources` or `_spare`. Of a folder without one, only the
        # named modules are added.
        for depth, part in enumerate(rest, 1):
            parent, child = ".".join([top, *rest[: depth - 1]]), ".".join([top, *rest[:depth]])
            if child in self.sources:
                continue
            if not self._add_child(parent, child, part):
                return

    def _is_beside(self, top: str) -> bool:
        """Return whether the project can have a module of this name, such as ``test``, in place of Python's."""
        places = (os.path.join(folder, top) for folder in self._folders)
        return any(os.path.isfile(f"{place}.py") or os.path.isdir(place) for place in places)

    def _spec(self, top: str) -> Any:
        try:
            if self._path is not None:
                return importlib.machinery.PathFinder.find_spec(top, self._path)
            return importlib.util.find_spec(top)
        except (ImportError, ValueError, AttributeError):
            return None

    def _add_spec(self, name: str, spec: Any) -> bool:
        if spec.origin and spec.origin.endswith(".py") and self.is_ours(os.path.abspath(spec.origin)):
            if not os.path.isfile(spec.origin):
                return False  # the module is in an archive, such as a zip file
            self._add(name, os.path.abspath(spec.origin), is_package=spec.submodule_search_locations is not None)
            return True
        if spec.origin is None and spec.submodule_search_locations is not None:
            return any(
                self.is_ours(os.path.join(os.path.abspath(place), "")) for place in spec.submodule_search_locations
            )
        return False

    def _add_child(self, parent: str, child: str, part: str) -> bool:
        for place in self._places_of(parent):
            for path, is_package in ((f"{part}.py", False), (os.path.join(part, "__init__.py"), True)):
                if os.path.isfile(found := os.path.join(place, path)) and self.is_ours(found):
                    self._add(child, found, is_package=is_package)
                    return True
        return any(os.path.isdir(os.path.join(place, part)) for place in self._places_of(parent))

    def _places_of(self, package: str) -> list[str]:
        source = self.sources.get(package)
        if source is not None and source.path:
            return [os.path.dirname(source.path)] if source.is_package else []
        top, *rest = package.split(".")
        spec = self._spec(top)
        found: Iterable[str] = (spec and spec.submodule_search_locations) or ()
        return [os.path.join(os.path.abspath(place), *rest) for place in found]

    def _add(self, name: str, path: str, *, is_package: bool) -> None:
        if name in self.sources and self.sources[name].path:
            return
        text = files.read(path)
        self._size += len(text)
        self.sources[name] = Source(path, is_package, text, files.compiled_code(path, text))
        self._todo.append((path, name if is_package else name.rpartition(".")[0], text))
        parent = name.rpartition(".")[0]
        while parent and parent not in self.sources:
            self.sources[parent] = Source("", is_package=True)
            self._add_loaded(parent)
            parent = parent.rpartition(".")[0]
        if is_package:
            self._spare.update(files.modules_below(name, os.path.dirname(path)))

    def imports_of(self, path: str, package: str, text: bytes) -> None:
        """Add the modules that the import statements in a file name."""
        for base, names in files.imports_in(text):
            if base.startswith("."):
                level = len(base) - len(base.lstrip("."))
                parts = package.split(".") if package else []
                if level > len(parts) + (self._path is not None):  # a packed file's folder is its package
                    self.leads_above = True
                    continue
                base = ".".join(filter(None, [*parts[: max(0, len(parts) - level + 1)], base.lstrip(".")]))
            self._add_named(base)
            for name in names:
                self._add_named(f"{base}.{name}" if base else name)

    def _add_spare(self) -> None:
        """Add the other modules of the project's packages, within the limits."""
        for name, path in sorted(self._spare.items()):
            if name in self.sources:
                continue
            size = os.path.getsize(path)
            if size > FILE_LIMIT or self._size + size > LIMIT:
                continue
            self._add(name, path, is_package=os.path.basename(path) == "__init__.py")
        self._todo.clear()


def _code_of(value: Any) -> Any:
    """Return the code of a function, a task, a flow or a method; another object for other values."""
    function = value.fget if isinstance(value, property) else getattr(value, "fn", value)
    return getattr(getattr(function, "__func__", function), "__code__", None)


def _names_in(code: Any) -> Iterator[str]:
    if not isinstance(code, CodeType):
        return
    yield from code.co_names
    for constant in code.co_consts:
        yield from _names_in(constant)


def _too_large(sources: dict[str, Source], size: int) -> str:
    largest = sorted(sources, key=lambda name: -len(sources[name].text))[:3]
    named = ", ".join(f"{public(name)} ({len(sources[name].text) / MIB:.1f} MiB)" for name in largest)
    return (
        f"The modules of the project have {size / MIB:.1f} MiB, and a flow run can send {LIMIT / MIB:.0f} MiB to "
        f"workers; the largest are {named}. Keep data in files that are not Python, or install the project as a "
        "package where the workers run."
    )

"""Import of a project's modules in a process that does not have their files.

Each version of a project is below a package of its own, such as ``_flowcluster_1f0c….prices``: ``sys.modules`` can have
two versions. Import statements in the project's code lead to its own version.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, ModuleType
from typing import Any

from flowcluster.project.source import PREFIX, Project, Reference, Source, compiled, public

#: Number of projects that a worker keeps. Beyond that, it drops the oldest ones that no task uses.
KEPT = 8

#: The project of the current task, and its reference.
_current: ContextVar[tuple[Project, Reference] | None] = ContextVar("flowcluster_project", default=None)

_loaded: dict[str, Project] = {}
_users: dict[str, int] = {}
_lock = threading.RLock()

#: Digests of the projects that come from this process, and the names of the newest one's modules.
_homes: set[str] = set()
_names: frozenset[str] = frozenset()

#: Functions without arguments that are called when a project is dropped.
on_drop: list[Callable[[], None]] = []

_import = builtins.__import__
_import_module = importlib.import_module


def found(project: Project) -> None:
    """Record, in the flow's process, that a project comes from this process."""
    global _names
    with _lock:
        _homes.add(project.digest)
        _names = frozenset(project.sources)
        _add_finder()


def is_home(digest: str) -> bool:
    """Return whether a project comes from this process."""
    return digest in _homes


def current() -> tuple[Project, Reference] | None:
    """Return the project of the current task on a worker, and its reference; None in other processes."""
    return _current.get()


@contextmanager
def using(reference: Reference | None, fetch: Callable[[str], bytes]) -> Iterator[None]:
    """Make a project the current one for the time of the block, in which one of its tasks is executed.

    Args:
        reference: the project; None for a task without a project.
        fetch: returns the packed project that has this name on the cluster. Its exceptions are raised.
    """
    if reference is None or is_home(reference.digest):
        token = _current.set(None)
        try:
            yield
        finally:
            _current.reset(token)
        return
    project = _acquire(reference, fetch)
    token = _current.set((project, reference))
    try:
        yield
    finally:
        _current.reset(token)
        with _lock:
            _users[project.digest] -= 1


def in_use() -> list[Project]:
    """Return the projects whose tasks are being executed on this worker."""
    with _lock:
        return [project for digest, project in _loaded.items() if _users.get(digest)]


def _acquire(reference: Reference, fetch: Callable[[str], bytes]) -> Project:
    digest = reference.digest
    with _lock:
        project = _loaded.pop(digest, None)
        if project is None:
            project = Project.unpacked(fetch(reference.place))
            _route_imports()
        _loaded[digest] = project  # the newest is the last
        _users[digest] = _users.get(digest, 0) + 1
        _drop_old()
    return project


def _drop_old() -> None:
    idle = [digest for digest in _loaded if not _users.get(digest)]
    for digest in idle[: max(0, len(_loaded) - KEPT)]:
        root = _loaded.pop(digest).root
        _users.pop(digest, None)
        for name in [name for name in sys.modules if name == root or name.startswith(f"{root}.")]:
            del sys.modules[name]
        for call in on_drop:
            call()


def import_module(name: str, digest: str = "") -> ModuleType:
    """Import a module of the current task's project, else of the project `digest`, else the one that Python finds."""
    here = _current.get()
    project = here[0] if here is not None and here[0].has(name) else _loaded.get(digest)
    if project is not None and project.has(name):
        return _import_module(f"{project.root}.{name}")
    return _import_module(name)


def resolve(digest: str, module: str, qualified: str) -> Any:
    """Return the object that a pickle names in a project. An empty name means the module itself."""
    thing: Any = import_module(module, digest)
    for part in qualified.split(".") if qualified else ():
        thing = getattr(thing, part)
    return thing


def reference_to(thing: Any) -> tuple[str, str, str] | None:
    """Return the arguments of `resolve` for a module, class or function of a project; None for other objects."""
    name: Any
    qualified: Any
    if isinstance(thing, ModuleType):
        name, qualified = thing.__name__, ""
        if type(name) is not str or sys.modules.get(name) is not thing:
            return None
    else:
        name, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if type(name) is not str or type(qualified) is not str or "<" in qualified:
            return None
    if name.startswith(PREFIX):
        digest = name[len(PREFIX) :].partition(".")[0]
    elif name in _names:
        digest = ""
    else:
        return None
    if qualified:
        found: Any = sys.modules.get(name)
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if found is not thing:
            return None
    return digest, public(name), qualified


def sources_for(importer: str, name: str) -> Mapping[str, Source] | None:
    """Return the modules of the project whose module `importer` imports by `name`; None if none was sent here."""
    project = _project_of(importer, name)
    return project.sources if project is not None else None


def also_as_loaded(loggers: Sequence[str]) -> tuple[str, ...]:
    """Return names of loggers, and their names in the current task's project, where ``__name__`` has a prefix."""
    here = _current.get()
    if here is None or not loggers:
        return tuple(loggers)
    return (*loggers, *(f"{here[0].root}.{name}" for name in loggers if here[0].has(name)))


class _Loader(importlib.abc.InspectLoader):
    def __init__(self, name: str, source: Source) -> None:
        self._name = name
        self._source = source

    def is_package(self, fullname: str) -> bool:
        return self._source.is_package

    def get_code(self, fullname: str) -> CodeType:
        return compiled(self._source, self._name)

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source.text)

    def get_filename(self, fullname: str) -> str:
        return self._source.path


class _Alias(importlib.abc.Loader):
    """Provides a project's module, in the flow's process, under the name that it has on workers."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: Any) -> ModuleType:
        module = _import_module(self._name)
        self._kept = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._kept


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not fullname.startswith(PREFIX):
            return None
        root, _, name = fullname.partition(".")
        digest = root[len(PREFIX) :]
        project = _loaded.get(digest)
        if not name and (project or digest in _homes):
            loader: Any = _Loader(fullname, Source("", is_package=True))
            return importlib.machinery.ModuleSpec(fullname, loader, is_package=True)
        if digest in _homes:
            return importlib.machinery.ModuleSpec(fullname, _Alias(name))
        if project is None:
            text = f"No module named {name or root!r}: the flow run that sent it is over"
            raise ModuleNotFoundError(text, name=fullname)
        source = project.sources.get(name)
        if source is None:
            text = f"No module named {name!r} among the modules that came with the flow run"
            raise ModuleNotFoundError(text, name=fullname)
        loader = _Loader(name, source)
        spec = importlib.machinery.ModuleSpec(
            fullname, loader, origin=source.path or None, is_package=source.is_package
        )
        spec.has_location = bool(source.path)
        return spec


_finder = _Finder()


def _add_finder() -> None:
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _route_imports() -> None:
    """Let import statements of projects' code lead to their own modules from now on."""
    _add_finder()
    builtins.__import__ = _routed_import
    importlib.import_module = _routed_import_module


def _routed_import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    if globals is None:  # a call, not a statement
        globals = sys._getframe(1).f_globals
    importer = globals.get("__name__")
    if type(importer) is not str:
        return _import(name, globals, locals, fromlist or (), level)
    absolute: str | None = name
    if level:  # A module of a project has its parents in sys.modules; a function of a script does not.
        package = globals.get("__package__")
        is_below = importer.startswith(PREFIX) or not package
        absolute = None if is_below else importlib.util.resolve_name("." * level + name, str(package))
    project = _project_of(importer, absolute) if absolute else None
    if project is None or absolute is None:
        return _import(name, globals, locals, fromlist or (), level)
    full = f"{project.root}.{absolute}"
    _import(full, globals, locals, fromlist or (), 0)
    if fromlist:
        return sys.modules[full]
    return sys.modules[f"{project.root}.{absolute.partition('.')[0]}"]


def _routed_import_module(name: str, package: str | None = None) -> ModuleType:
    if name.startswith("."):
        return _import_module(name, package)
    importer = sys._getframe(1).f_globals.get("__name__")
    project = _project_of(importer, name) if type(importer) is str else None
    if project is None and (here := _current.get()) is not None and here[0].has(name):
        project = here[0]
    return _import_module(name if project is None else f"{project.root}.{name}", package)


def _project_of(importer: str, name: str) -> Project | None:
    """Return the project whose module `name` the module `importer` imports; None if it belongs to no project."""
    if importer.startswith(PREFIX):
        project = _loaded.get(importer[len(PREFIX) :].partition(".")[0])
        return project if project is not None and project.has(name) else None
    if (here := _current.get()) is not None:
        return here[0] if importer in here[0].scripts and here[0].has(name) else None
    # A thread that a function of a script has started: its run is not known. So there must be only one such project.
    owners = [one for one in list(_loaded.values()) if importer in one.scripts and one.has(name)]
    return owners[0] if len(owners) == 1 else None

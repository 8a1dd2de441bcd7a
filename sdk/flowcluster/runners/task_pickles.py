"""Let code of tasks on workers write and read pickles by itself, such as files of models.

On a worker, the modules of a project have internal names. `pickle` itself would write these, and would not find the
public names. With this module, it writes and finds the public names. A worker cannot find functions and classes of a
script by their names. So this module writes them by value, and finds them among the globals of the task's function.
"""

from __future__ import annotations

import functools
import io
import pickle
import pkgutil
import sys
import types
from collections.abc import Callable
from typing import Any

from flowcluster import context
from flowcluster._util import pickling
from flowcluster._util.functions import base_of
from flowcluster.project import by_value, modules, plain_pickles
from flowcluster.project.source import PREFIX, public

_dumps, _dump, _loads, _load = pickle.dumps, pickle.dump, pickle.loads, pickle.load
_Unpickler = pickle.Unpickler
_find_class: Callable[[Any, str, str], Any] = pickle._Unpickler.find_class


def install() -> None:
    """Replace the functions and classes of `pickle`, so that they handle code of projects and scripts in tasks."""
    if pickle.Pickler is Pickler:
        return
    ours = {"dumps": dumps, "dump": dump, "loads": loads, "load": load, "Pickler": Pickler, "Unpickler": Unpickler}
    # Also in `_pickle`, which defines them: a script that has imported one of them sends it as a name in `_pickle`.
    for name in ("pickle", "_pickle", "shelve"):
        if name in sys.modules:
            vars(sys.modules[name]).update(
                {key: value for key, value in ours.items() if hasattr(sys.modules[name], key)}
            )
    # Other libraries derive their own classes from these two, so they are changed, not replaced.
    replaced: dict[str, Any] = vars(pickle)
    replaced["_Pickler"].reducer_override = lambda _, thing: _reduced(thing)
    replaced["_Unpickler"].find_class = lambda unpickler, *names: _found(unpickler, _find_class, *names)


def _is_in_task() -> bool:
    return modules.current() is not None or isinstance(context.current.get(), context.TaskContext)


def _reduced(thing: Any) -> Any:
    """Return how to rebuild a class or function. Processes without flowcluster can rebuild those of the project."""
    kind = type(thing)
    if not issubclass(kind, type | types.FunctionType | functools._lru_cache_wrapper) or not _is_in_task():
        return NotImplemented
    if modules.current() is not None and (reference := modules.reference_to(thing)) is not None:
        return pkgutil.resolve_name, (f"{reference[1]}:{reference[2]}",)
    return (plain_pickles.by_value, (pickling.dumps(thing),)) if by_value.is_lost(thing) else NotImplemented


def _found(unpickler: Any, find: Callable[[Any, str, str], Any], module: str, name: str) -> Any:
    """Return the class or function with this name. `find` finds those that belong to neither project nor script."""
    here = modules.current()
    if here is not None and (module.startswith(PREFIX) or here[0].has(module)):
        return modules.resolve("", public(module), name)
    thing: Any = _of_script(module, name.partition(".")[0])
    if thing is None:
        return find(unpickler, module, name)
    for part in name.split(".")[1:]:
        thing = getattr(thing, part)
    return thing


def _of_script(module: str, name: str) -> Any:
    """Return the global of this name of the current task's function, if the function belongs to this script."""
    run = context.current.get()
    if not isinstance(run, context.TaskContext):
        return None
    variables = getattr(base_of(run.spec.function), "__globals__", {})
    return variables.get(name) if variables.get("__name__") == module else None


class Pickler(pickle.Pickler):
    """Writes the public names of the project's modules."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild an object, as ``object.__reduce__`` does. pickle calls this for each object."""
        return _reduced(obj)


class Unpickler(pickle.Unpickler):
    """Finds the public names in the project of the current task."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the class or function of that name."""
        return _found(self, _Unpickler.find_class, module, name)


@functools.wraps(pickle.dumps)
def dumps(obj: Any, protocol: int | None = None, **options: Any) -> bytes:
    """Do what `pickle.dumps` does."""
    if not _is_in_task():
        return _dumps(obj, protocol, **options)
    file = io.BytesIO()
    Pickler(file, protocol, **options).dump(obj)
    return file.getvalue()


@functools.wraps(pickle.dump)
def dump(obj: Any, file: Any, protocol: int | None = None, **options: Any) -> None:
    """Do what `pickle.dump` does."""
    if not _is_in_task():
        _dump(obj, file, protocol, **options)
    else:
        Pickler(file, protocol, **options).dump(obj)


@functools.wraps(pickle.loads)
def loads(data: Any, /, **options: Any) -> Any:
    """Do what `pickle.loads` does."""
    return Unpickler(io.BytesIO(data), **options).load() if _is_in_task() else _loads(data, **options)


@functools.wraps(pickle.load)
def load(file: Any, **options: Any) -> Any:
    """Do what `pickle.load` does."""
    return Unpickler(file, **options).load() if _is_in_task() else _load(file, **options)

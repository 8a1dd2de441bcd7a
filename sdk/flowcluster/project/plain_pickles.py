"""Pickles that the code of tasks writes and reads by itself, such as files of models.

In a task with a project, `pickle` by itself would write the names that only this worker has for the project's modules,
and would not find the names that are the same everywhere. Here it writes and finds the latter.
"""

from __future__ import annotations

import functools
import io
import pickle
import pkgutil
import types
from collections.abc import Callable
from typing import Any

from flowcluster.project import modules
from flowcluster.project.shared import PREFIX, public

_dumps, _dump, _loads, _load = pickle.dumps, pickle.dump, pickle.loads, pickle.load
_find_class_in_python: Callable[..., Any] = pickle._Unpickler.find_class


def install() -> None:
    """Let `pickle` know projects, from now on, in tasks that have one."""
    if pickle.Pickler is Pickler:
        return
    replaced: dict[str, Any] = vars(pickle)
    replaced.update(dumps=dumps, dump=dump, loads=loads, load=load, Pickler=Pickler, Unpickler=Unpickler)
    # Other libraries derive their own classes from these.
    replaced["_Pickler"].reducer_override = lambda _, thing: _reduced(thing)
    replaced["_Unpickler"].find_class = _find_class


def _reduced(thing: Any) -> Any:
    """Return how to rebuild a class or function of the project, also where there is no flowcluster."""
    kind = type(thing)
    if not issubclass(kind, type | types.FunctionType | functools._lru_cache_wrapper) or modules.current() is None:
        return NotImplemented
    reference = modules.reference_to(thing)
    return NotImplemented if reference is None else (pkgutil.resolve_name, (f"{reference[1]}:{reference[2]}",))


def _of_project(module: str) -> bool:
    """Whether a name in a pickle means a module of the current task's project, of this version or an older one."""
    here = modules.current()
    return here is not None and (module.startswith(PREFIX) or here[0].has(module))


def _find_class(unpickler: Any, module: str, name: str) -> Any:
    if _of_project(module):
        return modules.resolve("", public(module), name)
    return _find_class_in_python(unpickler, module, name)


class Pickler(pickle.Pickler):
    """Writes the names of the project's modules that are the same everywhere."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild the object, as for ``object.__reduce__``; called by pickle for each object."""
        return _reduced(obj)


class Unpickler(pickle.Unpickler):
    """Finds these names in the project of the current task."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the class or function of that name."""
        return modules.resolve("", public(module), name) if _of_project(module) else super().find_class(module, name)


@functools.wraps(pickle.dumps)
def dumps(obj: Any, protocol: int | None = None, **options: Any) -> bytes:
    """As `pickle.dumps`."""
    if modules.current() is None:
        return _dumps(obj, protocol, **options)
    file = io.BytesIO()
    Pickler(file, protocol, **options).dump(obj)
    return file.getvalue()


@functools.wraps(pickle.dump)
def dump(obj: Any, file: Any, protocol: int | None = None, **options: Any) -> None:
    """As `pickle.dump`."""
    if modules.current() is None:
        _dump(obj, file, protocol, **options)
    else:
        Pickler(file, protocol, **options).dump(obj)


@functools.wraps(pickle.loads)
def loads(data: Any, /, **options: Any) -> Any:
    """As `pickle.loads`."""
    return _loads(data, **options) if modules.current() is None else Unpickler(io.BytesIO(data), **options).load()


@functools.wraps(pickle.load)
def load(file: Any, **options: Any) -> Any:
    """As `pickle.load`."""
    return _load(file, **options) if modules.current() is None else Unpickler(file, **options).load()

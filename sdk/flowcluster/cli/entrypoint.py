"""Load the flow that an entrypoint names: ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from types import ModuleType
from typing import Any

from flowcluster import errors, states
from flowcluster._util.suggestions import closest
from flowcluster.cli.startup_error import StartupError
from flowcluster.flows import Flow
from flowcluster.project import by_value, files
from flowcluster.submit import packing
from flowcluster.tasks import Task


def load(entrypoint: str) -> Flow[..., Any]:
    """Return the flow.

    Raises:
        StartupError: it cannot be found or imported (``EntrypointNotFound``, ``ImportFailed``).
    """
    where, _, name = entrypoint.rpartition(":")
    if not where or not name:
        shown = (
            f"{entrypoint}:FUNCTION" if entrypoint.endswith(".py") else "FILE.py:FUNCTION or package.module:FUNCTION"
        )
        raise StartupError("EntrypointNotFound", f"'{entrypoint}' names no flow: write {shown}.")
    _unpack()
    module = _file(where) if where.endswith(".py") else _module(where)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            text = f"{where} has no '{name}'{closest(name, _flows(module))}; its flows: {_listed(module)}."
            raise StartupError("EntrypointNotFound", text) from None
    if isinstance(found, Task):
        text = f"'{name}' in {where} is a task, and only a flow can run by itself; its flows: {_listed(module)}."
        raise StartupError("EntrypointNotFound", text)
    if not isinstance(found, Flow):
        kind = type(found).__name__
        raise StartupError(
            "EntrypointNotFound", f"'{name}' in {where} is not a flow but a {kind}: decorate it with @flow."
        )
    return found


def _unpack() -> None:
    try:
        packing.unpack(os.getcwd())
    except OSError as error:
        text = (
            f"The packages that came with {packing.ARCHIVE} could not be unpacked: {error.strerror}. Give the driver a "
            "folder for temporary files, such as an emptyDir at /tmp in spec.flow.template."
        )
        raise StartupError("ImportFailed", text) from error


def _flows(module: ModuleType) -> list[str]:
    return [key for key, value in vars(module).items() if isinstance(value, Flow)]


def _listed(module: ModuleType) -> str:
    return ", ".join(_flows(module)) or "none"


def _file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        directory, name = os.path.split(path)
        beside = [os.path.join(directory, file) for file in _sources(directory)]
        text = f"There is no file {path}{closest(path, beside)}; looked from {os.getcwd()}."
        raise StartupError("EntrypointNotFound", text)
    path = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_flow"  # a file such as json.py must not hide the module that others import
    if package := _package_of(path):
        name = f"{package}.{os.path.splitext(os.path.basename(path))[0]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script, modules beside the file can be imported; also those beside the file that a link leads to.
    sys.path[:0] = dict.fromkeys(os.path.dirname(each) for each in (path, os.path.realpath(path)))
    sys.modules[name] = module
    by_value.scripts.add(name)
    try:
        spec.loader.exec_module(module)
    except errors.Terminated:
        raise
    except (Exception, SystemExit) as error:
        raise _import_failed(path, error) from error
    return module


def _package_of(path: str) -> str | None:
    """Return the package of a file with relative imports, and make it importable; None for other files.

    A folder without ``__init__.py`` becomes a package with an unused name.
    """
    with open(path, "rb") as file:
        if not _RELATIVE.search(file.read()):
            return None
    top, package = files.package_of(path)
    if package and package.partition(".")[0] not in sys.stdlib_module_names:
        sys.path.insert(0, top)
        try:
            importlib.import_module(package)
        except errors.Terminated:
            raise
        except (Exception, SystemExit) as error:
            raise _import_failed(os.path.dirname(path), error) from error
        return package
    stem = re.sub(r"\W", "_", os.path.basename(os.path.dirname(path))) or "folder"
    name = f"{stem}_folder"
    package_spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    package_spec.submodule_search_locations = [os.path.dirname(path)]
    sys.modules[name] = importlib.util.module_from_spec(package_spec)
    return name


#: A statement that imports from the file's own package.
_RELATIVE = re.compile(rb"^[ \t]*from[ \t]+\.", re.MULTILINE)


def _sources(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory or ".") if name.endswith(".py")]
    except (OSError, ValueError):  # it is not a folder, or no folder can have this path
        return []


def _module(name: str) -> ModuleType:
    # As for ``python -m``: modules beside the caller can be imported.
    if sys.path[:1] != [os.getcwd()]:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            here = [file.removesuffix(".py") for file in _sources("")]
            text = f"There is no module {name}{closest(name, here)}; looked from {os.getcwd()}."
            raise StartupError("EntrypointNotFound", text) from None
        raise _import_failed(name, error) from error
    except errors.Terminated:
        raise
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _import_failed(where: str, error: BaseException) -> StartupError:
    if isinstance(error, SystemExit):
        return StartupError(
            "ImportFailed", f"{where} called sys.exit({error.code!r}) while it was imported.", cause=error
        )
    return StartupError("ImportFailed", f"{where} could not be imported: {states.describe(error)}", cause=error)

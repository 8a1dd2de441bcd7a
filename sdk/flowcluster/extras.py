"""Packages that only some runners and clusters need."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from flowcluster.errors import ClusterNotStarted


def required(module: str, extra: str, what: str) -> Any:
    """The module. Raises `ClusterNotStarted` with what to do if it is missing, or a file of its name is found first."""
    for name in {module, extra} & {"dask", "distributed", "ray"}:
        if (file := _file_instead_of(name)) is not None:
            raise ClusterNotStarted(
                f"{what} needs the package '{name}', and Python imports the file {file} instead: give it another name.",
                "PackageMissing",
            )
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or module).partition(".")[0] != module:
            raise  # it is there, and something that it needs is not
        raise ClusterNotStarted(
            f"{what} needs the package '{module}', which is not installed here: pip install \"flowcluster[{extra}]\".",
            "PackageMissing",
        ) from None


def _file_instead_of(package: str) -> str | None:
    """The file that Python imports under the name of a package, such as the ``ray.py`` of a user, if there is one."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec is not None and spec.submodule_search_locations is None else None

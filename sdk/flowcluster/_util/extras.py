"""Optional packages, which only some runners and clusters need."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from flowcluster.errors import ClusterNotStarted


def required(module: str, extra: str, what: str) -> Any:
    """Import an optional module, and return it.

    Args:
        module: name of the module.
        extra: the extra of flowcluster that installs the module.
        what: what needs the module, for the message.

    Raises:
        ClusterNotStarted: the module is missing, or Python finds a file of its name first; the message has the remedy.
    """
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
            raise  # the module exists, and a module that it needs does not
        raise ClusterNotStarted(
            f"{what} needs the package '{module}', which is not installed here: pip install \"flowcluster[{extra}]\".",
            "PackageMissing",
        ) from None


def _file_instead_of(package: str) -> str | None:
    """Return the file that Python imports in place of a package, such as a user's ``ray.py``; None without one."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec is not None and spec.submodule_search_locations is None else None

"""Packages that only some runners and clusters need."""

from __future__ import annotations

import importlib
from typing import Any

from flowcluster.errors import ClusterNotStarted


def required(module: str, extra: str, what: str) -> Any:
    """The module. Raises `ClusterNotStarted` with what to install if it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or module).partition(".")[0] != module:
            raise  # it is there, and something that it needs is not
        raise ClusterNotStarted(
            f"{what} needs the package '{module}', which is not installed here: pip install \"flowcluster[{extra}]\".",
            "PackageMissing",
        ) from None

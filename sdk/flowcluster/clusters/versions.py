"""Whether driver and cluster can understand each other: Python and the packages that write what both read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ClusterNotStarted

_PACKAGES = ("dask", "distributed", "cloudpickle")


def check(here: Mapping[str, Any], there: Mapping[str, Any], image: str) -> Iterator[str]:
    """What differs, a sentence each, that may do harm; both are what ``distributed.versions`` tells.

    Raises `ClusterNotStarted` where no task could run: functions of one Python cannot be read by another.
    """
    mine, theirs = _python(here), _python(there)
    if mine != theirs:
        raise ClusterNotStarted(
            f"The cluster runs Python {theirs} and this process Python {mine}, so no function can be sent to it. Give "
            f"an image with Python {mine} (image=...; now {image}), or run the flow with Python {theirs}.",
            "VersionMismatch",
        )
    for package in _PACKAGES:
        ours, its = here["packages"].get(package), there["packages"].get(package)
        if ours != its:
            yield (
                f"The cluster has {package} {its or '(missing)'} and this process {ours}: install {package}=={its} "
                f"here, or give an image with {package} {ours} (image=...; now {image})."
            )


def _python(versions: Mapping[str, Any]) -> str:
    return ".".join(str(versions["host"]["python"]).split(".")[:2])

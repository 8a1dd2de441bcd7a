"""Whether driver and cluster can understand each other: Python and the packages that write what both read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowcluster.errors import ClusterNotStarted

_PACKAGES = ("dask", "distributed", "cloudpickle")


def check(here: Mapping[str, Any], there: Mapping[str, Any], image: str) -> Iterator[str]:
    """What differs, a sentence each, that may do harm; both are what ``distributed.versions`` tells.

    Raises `ClusterNotStarted` where no task could run: functions of one Python cannot be read by another.
    """
    check_python(str(there["host"]["python"]), str(here["host"]["python"]), image)
    for package in _PACKAGES:
        ours, its = here["packages"].get(package), there["packages"].get(package)
        if ours != its:
            yield (
                f"The cluster has {package} {its or '(missing)'} and this process {ours}: install {package}=={its} "
                f"here, or give an image with {package} {ours} (image=...; now {image})."
            )


def check_python(theirs: str, mine: str, image: str) -> None:
    """Raises `ClusterNotStarted` if the cluster's Python and this one differ by more than their patch level."""
    theirs, mine = (".".join(version.split(".")[:2]) for version in (theirs, mine))
    if mine != theirs:
        raise ClusterNotStarted(
            f"The cluster runs Python {theirs} and this process Python {mine}, so no function can be sent to it. Give "
            f"an image with Python {mine} (image=...; now {image}), or run the flow with Python {theirs}.",
            "VersionMismatch",
        )


def check_ray(theirs: str, mine: str, image: str) -> None:
    """Raises `ClusterNotStarted` if the cluster's Ray and this one differ at all."""
    if mine != theirs:
        raise ClusterNotStarted(
            f"The cluster runs Ray {theirs} and this process Ray {mine}, which do not understand each other. Install "
            f"ray=={theirs} here, or give an image with Ray {mine} (image=...; now {image}).",
            "VersionMismatch",
        )

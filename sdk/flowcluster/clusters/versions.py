"""Compare the versions of driver and cluster: of Python, and of the packages by which they communicate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowcluster.errors import ClusterNotStarted

_PACKAGES = ("dask", "distributed", "cloudpickle")

#: Returns, as text for the user, how to get an image with something in it, such as "Python 3.12".
Remedy = Callable[[str], str]


def own_image(image: str) -> Remedy:
    """Return the remedy for a cluster that this process creates with this image."""
    return lambda what: f"give an image with {what} (image=...; now {image})"


def shared_image(cluster: str) -> Remedy:
    """Return the remedy for a cluster that an administrator creates, such as "SharedCluster analytics"."""
    return lambda what: f"have an image with {what} set as spec.image of {cluster}"


def check(here: Mapping[str, Any], there: Mapping[str, Any], remedy: Remedy) -> Iterator[str]:
    """Yield a sentence for each difference that can cause errors.

    Args:
        here: versions of this process, as ``distributed.versions`` returns them.
        there: versions of the scheduler, in the same form.
        remedy: how to get another image for the cluster.

    Raises:
        ClusterNotStarted: no task can run, because one Python cannot unpickle the functions of the other.
    """
    check_python(str(there["host"]["python"]), str(here["host"]["python"]), remedy)
    for package in _PACKAGES:
        ours, its = here["packages"].get(package), there["packages"].get(package)
        if ours != its:
            yield (
                f"The cluster has {package} {its or '(missing)'} and this process {ours}: install {package}=={its} "
                f"here, or {remedy(f'{package} {ours}')}."
            )


def check_python(theirs: str, mine: str, remedy: Remedy) -> None:
    """Raise `ClusterNotStarted` if the cluster's Python and this one differ by more than their patch level."""
    theirs, mine = (".".join(version.split(".")[:2]) for version in (theirs, mine))
    if mine != theirs:
        raise ClusterNotStarted(
            f"The cluster runs Python {theirs} and this process Python {mine}, so no function can be sent to it. "
            f"Run the flow with Python {theirs}, or {remedy(f'Python {mine}')}.",
            "VersionMismatch",
        )


def check_ray(theirs: str, mine: str, remedy: Remedy) -> None:
    """Raise `ClusterNotStarted` if the versions of Ray differ."""
    if mine != theirs:
        raise ClusterNotStarted(
            f"The cluster runs Ray {theirs} and this process Ray {mine}, which are not compatible. Install "
            f"ray=={theirs} here, or {remedy(f'Ray {mine}')}.",
            "VersionMismatch",
        )

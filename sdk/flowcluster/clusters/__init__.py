"""Clusters: how a runner gets one for the time of a flow run, or finds one that exists.

`DaskKubernetesCluster` and `RayKubernetesCluster` are imported when they are asked for, as they need packages that
nothing else does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcluster.clusters.dask_kubernetes import DaskKubernetesCluster
    from flowcluster.clusters.ray_kubernetes import RayKubernetesCluster

__all__ = ["DaskKubernetesCluster", "RayKubernetesCluster"]

_MODULES = {"DaskKubernetesCluster": "dask", "RayKubernetesCluster": "ray"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = _MODULES[name]
    try:
        return getattr(import_module(f"{__name__}.{kind}_kubernetes"), name)
    except ImportError as error:
        raise ImportError(f'{error}. {name} needs: pip install "flowcluster[{kind},kubernetes]"') from error

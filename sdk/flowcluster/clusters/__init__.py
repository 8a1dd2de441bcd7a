"""Cluster classes for flow runs, and for code without flows.

`DaskKubernetesCluster` and `RayKubernetesCluster` create a cluster. `SharedKubernetesCluster` and
`SharedRayKubernetesCluster` use a cluster that many runs share. This module imports the classes when their names are
used, because they need packages that no other part of the SDK needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcluster.clusters.dask_kubernetes import DaskKubernetesCluster
    from flowcluster.clusters.ray_kubernetes import RayKubernetesCluster
    from flowcluster.clusters.shared_dask import SharedKubernetesCluster
    from flowcluster.clusters.shared_ray import SharedRayKubernetesCluster

__all__ = [
    "DaskKubernetesCluster",
    "RayKubernetesCluster",
    "SharedKubernetesCluster",
    "SharedRayKubernetesCluster",
]

#: Module and extra of each class.
_MODULES = {
    "DaskKubernetesCluster": ("dask_kubernetes", "dask"),
    "RayKubernetesCluster": ("ray_kubernetes", "ray"),
    "SharedKubernetesCluster": ("shared_dask", "dask"),
    "SharedRayKubernetesCluster": ("shared_ray", "ray"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _MODULES[name]
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ImportError as error:
        raise ImportError(f'{error}. {name} needs: pip install "flowcluster[{extra},kubernetes]"') from error

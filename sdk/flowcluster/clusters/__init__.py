"""Clusters: how a runner gets one for the time of a flow run, or finds one that exists.

`DaskKubernetesCluster` is imported when it is asked for, as it needs packages that nothing else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dask_kubernetes import DaskKubernetesCluster

__all__ = ["DaskKubernetesCluster"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .dask_kubernetes import DaskKubernetesCluster
    except ImportError as error:
        raise ImportError(f'{error}. {name} needs: pip install "flowcluster[dask,kubernetes]"') from error
    return DaskKubernetesCluster

"""Why a cluster that a task runner made is lost. Classes of clusters that know no losses are never lost here."""

from __future__ import annotations

from typing import Any

from flowcluster.errors import ClusterLost


def known_loss(cluster: Any) -> ClusterLost | None:
    """Return why a cluster is lost, as far as this process has observed it; None for one that is not."""
    return _loss(getattr(cluster, "lost", None))


def find_loss(cluster: Any) -> ClusterLost | None:
    """Return why a cluster is lost, after a query; None for one that is not, and for one that cannot be queried."""
    find = getattr(cluster, "find_loss", None)
    return _loss(find() if callable(find) else None)


def _loss(found: Any) -> ClusterLost | None:
    return found if isinstance(found, ClusterLost) else None

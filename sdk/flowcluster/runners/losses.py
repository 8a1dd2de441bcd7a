"""The loss of a cluster that a task runner made. A cluster whose class reports no losses is never lost."""

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

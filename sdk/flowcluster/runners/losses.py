"""Find out whether a cluster that a task runner created is lost.

The classes of `flowcluster.clusters` report a loss. A cluster of any other class counts as never lost.
"""

from __future__ import annotations

from typing import Any

from flowcluster.errors import ClusterLost


def known_loss(cluster: Any) -> ClusterLost | None:
    """Return the loss that this process has already observed, with its cause; None without one. Never blocks."""
    return _loss(getattr(cluster, "lost", None))


def find_loss(cluster: Any) -> ClusterLost | None:
    """Return the loss after a query to the API server, with its cause; None if the cluster is not lost."""
    find = getattr(cluster, "find_loss", None)
    return _loss(find() if callable(find) else None)


def _loss(found: Any) -> ClusterLost | None:
    return found if isinstance(found, ClusterLost) else None

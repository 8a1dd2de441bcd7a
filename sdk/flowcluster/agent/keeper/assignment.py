"""What a keeper is for, from the environment of its pod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from flowcluster_api import driver, keeper


class Assignment(NamedTuple):
    """What a keeper is for.

    Attributes:
        namespace: of the SharedCluster.
        lease: name of its root Lease, and of its DaskCluster or RayCluster.
        kind: Dask or Ray.
        address: where the scheduler or the head takes connections.
        holder: the name by which the keeper renews the Lease.
        credentials: folder with the credentials of the cluster; None where it needs none.
        cluster: UID of the SharedCluster.
    """

    namespace: str
    lease: str
    kind: str
    address: str
    holder: str
    credentials: Path | None = None
    cluster: str = ""

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Return what these variables contain. Raises KeyError with the name of one that is missing."""
        credentials = environment.get(driver.ENV_KEYS)
        return cls(
            environment[driver.ENV_NAMESPACE],
            environment[keeper.ENV_LEASE],
            environment[driver.ENV_CLUSTER_KIND],
            environment[driver.ENV_CLUSTER_ADDRESS],
            environment[driver.ENV_POD_NAME],
            Path(credentials) if credentials else None,
            environment[keeper.ENV_SHARED_CLUSTER_UID],
        )

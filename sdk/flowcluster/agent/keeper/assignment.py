"""The cluster that a keeper serves, from the environment of its pod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from flowcluster_api import driver, keeper


class Assignment(NamedTuple):
    """The cluster that a keeper serves.

    Attributes:
        namespace: namespace of the SharedCluster.
        lease: name of its root Lease, which is also the name of its DaskCluster.
        kind: Dask or Ray.
        address: of the scheduler, or of the head's GCS.
        holder: the name by which the keeper renews the Lease.
        credentials: folder with the credentials of the cluster; None for a cluster without credentials.
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
        """Return the assignment in these environment variables.

        Raises:
            KeyError: a variable is missing; the argument is its name.
        """
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

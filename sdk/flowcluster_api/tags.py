"""Tags of work on a shared cluster: each has the UID of the FlowRun to which the work belongs.

When a run is over, the keeper of the cluster releases what is tagged with it.
"""

from __future__ import annotations

#: Prefix of the UID in the name of a Dask client. Dask makes the client's id from the name: ``Client-NAME-UUID``.
DASK_MARK = "run."
#: Characters that follow the name in that id: a hyphen and a UUID.
DASK_REST = 37
#: Key in the metadata of a Ray job; its value is the UID.
RAY_METADATA = "flowcluster.dev/run"
#: Separator between the UID and the rest of a key that the SDK writes into the key-value store of a Ray head.
RAY_SEPARATOR = "."
#: Namespaces of that store: log records, then the modules of projects.
RAY_NAMESPACES = (b"flowcluster", b"flowcluster-projects")
#: Key in the first of them. Its value is a JSON object. `part` is the maximum of tasks that a run has in flight. `own`
#: has, by the digest of a run (`flowcluster_api.keeper`), the run's own priority and maximum where they differ.
RAY_SHARES = b"shares"


def dask_client_name(uid: str, name: str | None = None) -> str:
    """Return the tagged name of a Dask client.

    Args:
        uid: UID of the FlowRun.
        name: prefix of the name.
    """
    return "-".join(filter(None, (name, f"{DASK_MARK}{uid}")))

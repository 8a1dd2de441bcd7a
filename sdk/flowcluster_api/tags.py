"""Tags of work on a shared cluster: each contains the UID of the FlowRun to which the work belongs.

When a run is over, the keeper of the cluster releases the work with its tag.
"""

from __future__ import annotations

#: Prefix of the UID in the name of a Dask client. Dask makes the client's id from the name: ``Client-NAME-UUID``.
DASK_MARK = "run."
#: Characters that follow the name in that id: a hyphen and a UUID.
DASK_REST = 37
#: Key in the metadata of a Ray job. Its value is the UID.
RAY_METADATA = "flowcluster.dev/run"
#: Separator between the UID and the rest of a key that the SDK writes into the key-value store of a Ray head.
RAY_SEPARATOR = "."
#: The SDK's namespaces in that store, which other libraries use, too: for log records, and for the modules of projects.
RAY_NAMESPACE, RAY_PROJECTS_NAMESPACE = b"flowcluster", b"flowcluster-projects"
#: All namespaces that can have entries of a run.
RAY_NAMESPACES = (RAY_NAMESPACE, RAY_PROJECTS_NAMESPACE)
#: Key in `RAY_NAMESPACE` under which the keeper writes the shares of runs as a JSON object: the fields of
#: `flowcluster.agent.keeper.shares.Shares`.
RAY_SHARES = b"shares"


def dask_client_name(uid: str, name: str | None = None) -> str:
    """Return the tagged name of a Dask client.

    Args:
        uid: UID of the FlowRun.
        name: prefix of the name.
    """
    return "-".join(filter(None, (name, f"{DASK_MARK}{uid}")))

"""How work on a shared cluster is tagged with the UID of the FlowRun that it belongs to.

The keeper of the cluster releases what is tagged with a run that is over.
"""

from __future__ import annotations

#: What stands before the UID in the name of a Dask client. Dask makes an id of the name: ``Client-NAME-UUID``.
DASK_MARK = "run."
#: Characters that follow the name in that id: a hyphen and a UUID.
DASK_REST = 37
#: Key of the metadata of a Ray job whose value is the UID.
RAY_METADATA = "flowcluster.dev/run"
#: Separates the UID from the rest in names of what the SDK keeps in the key-value store of a Ray head.
RAY_SEPARATOR = "."
#: Namespaces of that store: log records, then the modules of projects.
RAY_NAMESPACES = (b"flowcluster", b"flowcluster-projects")
#: Key in the first of them. Its value is a JSON object: `part` is how many tasks a run has in flight at most. By the
#: digest of a run (`flowcluster_api.keeper`), `own` has priority and such a bound where the run has others.
RAY_SHARES = b"shares"


def dask_client_name(uid: str, name: str | None = None) -> str:
    """Return the name of a Dask client of a run.

    Args:
        uid: of the FlowRun.
        name: that the client has besides.
    """
    return "-".join(filter(None, (name, f"{DASK_MARK}{uid}")))

"""Ports of the pods of a cluster, on which operator and SDK rely."""

from __future__ import annotations

#: Dask's scheduler takes connections, and serves the dashboard.
DASK_SCHEDULER, DASK_DASHBOARD = 8786, 8787
#: A Dask worker serves its health check.
DASK_WORKER_HTTP = 8788
#: Ray's head: the control store (GCS), clients by ``ray://``, and the dashboard.
RAY_GCS, RAY_CLIENT, RAY_DASHBOARD = 6379, 10001, 8265
#: The agent of each Ray node serves its health check.
RAY_AGENT = 52365
#: The relay container beside a scheduler or head. `flowcluster_api.relay` has the same number: it runs from its source
#: text, and can import nothing.
RELAY = 8790

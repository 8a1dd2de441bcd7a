"""Ports of a cluster's pods, for operator and SDK."""

from __future__ import annotations

#: Dask scheduler: connections of clients and workers, and the dashboard.
DASK_SCHEDULER, DASK_DASHBOARD = 8786, 8787
#: Dask worker: health check.
DASK_WORKER_HTTP = 8788
#: Ray head: the control store (GCS), clients by ``ray://``, and the dashboard.
RAY_GCS, RAY_CLIENT, RAY_DASHBOARD = 6379, 10001, 8265
#: Agent of each Ray node: health check.
RAY_AGENT = 52365
#: The relay container beside a scheduler or head. `flowcluster_api.relay` repeats the number: it runs from its source
#: text, and cannot import this module.
RELAY = 8790

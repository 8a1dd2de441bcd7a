"""The run's own Dask client, for flows and tasks that use Dask's collections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowcluster import context
from flowcluster.errors import NoFlowRunError
from flowcluster.runners.dask.runner import DaskTaskRunner


@contextmanager
def get_dask_client() -> Iterator[Any]:
    """Yield the ``distributed.Client`` of the current run. Collections that the block computes use its cluster.

    ``with get_dask_client() as client: total = array.sum().compute()``

    In a task on a worker, the block releases the worker's thread, so that tasks that wait for others cannot block the
    cluster.

    Raises:
        NoFlowRunError: there is no run, or it has no Dask cluster.
    """
    run = context.get_run_context()
    flow = run.flow if isinstance(run, context.TaskContext) else run
    if flow is None:
        import distributed

        with distributed.worker_client() as client:
            yield client
        return
    if not isinstance(flow.runner, DaskTaskRunner):
        raise NoFlowRunError(f"Flow run '{flow.name}' has no Dask cluster: it uses no DaskTaskRunner.")
    client = flow.runner.client
    with client.as_current():
        yield client

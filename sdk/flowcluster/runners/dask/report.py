"""Dask's performance report on a flow run: tasks and transfers of each worker, with their times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import performance_report

from flowcluster import states

logger = logging.getLogger("flowcluster.task_runner.dask")


@contextmanager
def reported(client: Any, path: str) -> Iterator[None]:
    """Write a report on the work of the client's cluster in the block. An error of the report is logged, not raised."""
    report = performance_report(filename=path)
    with client.as_current():
        report.__enter__()
    try:
        yield
    finally:
        try:
            # The client is the current client only here, because the flow can run in another thread.
            with client.as_current():
                report.__exit__(None, None, None)
        except Exception as error:
            logger.warning("The performance report %s could not be written: %s", path, states.describe(error))
        else:
            logger.info("The performance report is in %s", path)

"""Dask's own report on a flow run: which worker did what when, how much it sent, where time went."""

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
    """Write a report on what the client's cluster does in the block. A report that fails is logged, not raised."""
    report = performance_report(filename=path)
    with client.as_current():
        report.__enter__()
    try:
        yield
    finally:
        try:
            # The client is the current one only here: the flow can run in another thread.
            with client.as_current():
                report.__exit__(None, None, None)
        except Exception as error:
            logger.warning("The performance report %s could not be written: %s", path, states.describe(error))
        else:
            logger.info("The performance report is in %s", path)

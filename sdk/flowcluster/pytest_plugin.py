"""Fixtures for tests of flows. pytest loads them wherever flowcluster is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowcluster.task_runners import TaskRunner


@pytest.fixture
def flowcluster_harness() -> Iterator[TaskRunner]:
    """Run all flows of the test in this process, without clusters, and pickle arguments and results as on a cluster."""
    from flowcluster.testing import replaced_task_runners

    with replaced_task_runners() as runner:
        yield runner

"""One set of promises, kept by every task runner."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, SequentialTaskRunner, TaskRunner

#: Makes a temporary cluster quickly: its scheduler and workers are threads of this process.
IN_PROCESS = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": ":0"}

ALL = ("sequential", "concurrent", "dask", "dask by address")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Dask cluster of real processes, shared by all tests that reach one by its address."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=":0") as cluster:
        yield cluster


def _runner(kind: str, request: pytest.FixtureRequest) -> TaskRunner:
    if kind == "sequential":
        return SequentialTaskRunner()
    if kind == "concurrent":
        return ConcurrentTaskRunner()
    if kind == "dask":
        return DaskTaskRunner(cluster_kwargs=IN_PROCESS)
    return DaskTaskRunner(address=request.getfixturevalue("cluster").scheduler_address)


@pytest.fixture(params=ALL)
def runner(request: pytest.FixtureRequest) -> TaskRunner:
    """Each task runner."""
    return _runner(request.param, request)


@pytest.fixture(params=ALL[1:])
def parallel_runner(request: pytest.FixtureRequest) -> TaskRunner:
    """Each task runner whose ``submit`` does not wait."""
    return _runner(request.param, request)


class Gate:
    """Holds tasks up until the test lets them go on, in any process, without sleeping: a named pipe."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)

    def open(self) -> None:
        """Let one task go on, which waits here now or will."""
        with open(self.path, "w"):
            pass


def wait_at(path: str) -> None:
    """In a task: wait until the gate's owner opens it."""
    with open(path) as gate:
        gate.read()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A closed gate."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def wait() -> Callable[[str], None]:
    """The function that tasks call to wait at a gate."""
    return wait_at


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the log lines so far, as they would be shown but without the time."""
    from flowcluster.logs import RunFormatter

    caplog.set_level(logging.INFO, "flowcluster")
    formatter = RunFormatter()

    def shown() -> list[str]:
        mine = [record for record in caplog.records if record.name.startswith("flowcluster")]
        return [formatter.format(record).split(" | ", 2)[2] for record in mine]

    return shown

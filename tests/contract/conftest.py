"""One set of promises, kept by every task runner."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster.task_runners import (
    ConcurrentTaskRunner,
    DaskTaskRunner,
    RayTaskRunner,
    SequentialTaskRunner,
    TaskRunner,
)
from tests.support.ray_head import RayHead

#: Makes a temporary cluster quickly: its scheduler and workers are threads of this process.
IN_PROCESS = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": ":0"}

#: A temporary Ray without what takes long to start.
SMALL_RAY = {"num_cpus": 4, "include_dashboard": False, "object_store_memory": 100_000_000}

ALL = ("sequential", "concurrent", "dask", "dask by address", "ray")

#: Each flow run on these starts or joins a Ray of its own, which takes seconds: only tests with the mark
#: `every_ray` are tried with them.
SLOW = ("ray by address", "ray by client", "temporary ray")

#: The other ways to say what makes a temporary Dask cluster; for tests with that mark, too.
DASK = ("dask by string", "dask by class", "dask by function")

# Ray would write a token into the home directory.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test that takes a runner with every kind of runner."""
    kinds = ALL + (DASK + SLOW if metafunc.definition.get_closest_marker("every_ray") else ())
    if "runner" in metafunc.fixturenames:
        metafunc.parametrize("runner", kinds, indirect=True)
    if "parallel_runner" in metafunc.fixturenames:
        metafunc.parametrize("parallel_runner", kinds[1:], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a process without a Ray come last: all others share one connection."""
    items.sort(key=lambda item: any(kind in item.name for kind in SLOW) or "/test_ray_" in item.nodeid)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Dask cluster of real processes, shared by all tests that reach one by its address."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    """A Ray of real processes, shared by all tests that reach one by its address."""
    pytest.importorskip("ray")
    with RayHead.start(cpus=4) as head:
        yield head


@pytest.fixture
def no_ray() -> None:
    """This process is not connected to a Ray."""
    import ray

    ray.shutdown()


@pytest.fixture
def own_ray(ray_head: RayHead) -> None:
    """This process is connected to a Ray, as a program may be before its flows begin."""
    import ray

    if not ray.is_initialized():
        ray.init(address=ray_head.address, logging_level="ERROR")


def _runner(kind: str, request: pytest.FixtureRequest) -> TaskRunner:
    if kind == "sequential":
        return SequentialTaskRunner()
    if kind == "concurrent":
        return ConcurrentTaskRunner()
    if kind == "dask":
        return DaskTaskRunner(cluster_kwargs=IN_PROCESS)
    if kind in DASK:
        distributed = pytest.importorskip("distributed")
        made_by = {
            "dask by string": "distributed.LocalCluster",
            "dask by class": distributed.LocalCluster,
            "dask by function": lambda **kwargs: distributed.LocalCluster(**kwargs),
        }
        return DaskTaskRunner(cluster_class=made_by[kind], cluster_kwargs=IN_PROCESS)
    if kind == "dask by address":
        return DaskTaskRunner(address=request.getfixturevalue("cluster").scheduler_address)
    request.getfixturevalue("own_ray" if kind == "ray" else "no_ray")
    if kind == "ray by address":
        return RayTaskRunner(address=request.getfixturevalue("ray_head").address)
    if kind == "ray by client":
        return RayTaskRunner(address=request.getfixturevalue("ray_head").client_address)
    return RayTaskRunner(init_kwargs=SMALL_RAY if kind == "temporary ray" else {})


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> TaskRunner:
    """Each task runner."""
    return _runner(request.param, request)


@pytest.fixture
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

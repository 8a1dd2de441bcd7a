"""One set of promises, kept by every task runner."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowcluster.agent.protocol import Adapt
from flowcluster.task_runners import TaskRunner
from tests.contract.kinds import ELSEWHERE, SLOW, cluster_elsewhere, kinds_for, make
from tests.support.meeting import Desk, Gate, wait_at
from tests.support.ray_head import RayHead, RayThere

# Ray would write a token into the home directory.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Ray takes only a folder with a short name in ASCII, which TMPDIR does not have to have.
os.environ.setdefault("RAY_TMPDIR", "/tmp")

#: Files whose tests take longest.
SLOW_FILES = ("test_examples", "test_interruptions_of_drivers", "test_log_lines", "test_ray_runner")

#: Kinds that connect to the shared Ray by themselves, from a process without a connection.
BY_ADDRESS = {"ray by address", "ray by client"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name a cluster elsewhere."""
    for kind in ELSEWHERE:
        parser.addoption(
            f"--{kind.lower()}-address",
            metavar="ADDRESS",
            help=f"run the suite on this {kind} cluster, from a machine that can join it, and not on local runners",
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test that takes a runner with every kind of runner."""
    mark = metafunc.definition.get_closest_marker("every_ray")
    long = mark.kwargs.get("long", ()) if mark is not None else ()
    kinds = [pytest.param(kind, marks=[pytest.mark.long] * (kind in long)) for kind in kinds_for(metafunc)]
    if "runner" in metafunc.fixturenames:
        metafunc.parametrize("runner", kinds, indirect=True)
    if "parallel_runner" in metafunc.fixturenames:
        parallel = [kind for kind in kinds if kind.values != ("sequential",)]
        metafunc.parametrize("parallel_runner", parallel, indirect=True)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, and keep those that share a Ray in one process.

    The slowest tests come first, so that no process ends long before the others. Of those that share a Ray, the tests
    that need a process without a connection come last.
    """
    items.sort(key=_order)
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _uses_ray(item):
            item.add_marker(pytest.mark.xdist_group("ray"))
    if elsewhere := cluster_elsewhere(config):
        kind, _ = elsewhere
        config.hook.pytest_deselected(items=[item for item in items if not _can_run_elsewhere(item, kind)])
        items[:] = [item for item in items if _can_run_elsewhere(item, kind)]


def _order(item: pytest.Item) -> int:
    """Return the place of a test in the order of the tests."""
    if _uses_ray(item):
        return 1 if "no_ray" in getattr(item, "fixturenames", ()) or _kinds(item) & BY_ADDRESS else 0
    is_slow = any(kind in item.name for kind in SLOW) or item.path.stem in SLOW_FILES
    return 0 if is_slow else 2


def _uses_ray(item: pytest.Item) -> bool:
    """Return whether a test uses the Ray that all tests share, also by the connection of its process."""
    taken = getattr(item, "fixturenames", ())
    return "own_ray" in taken or "ray_head" in taken or bool(_kinds(item) & {"ray", *BY_ADDRESS})


def _kinds(item: pytest.Item) -> set[str]:
    """Return the kinds of runners that a test is tried with, and other texts among its parameters."""
    callspec = getattr(item, "callspec", None)
    return {value for value in callspec.params.values() if isinstance(value, str)} if callspec is not None else set()


def _can_run_elsewhere(item: pytest.Item, kind: str) -> bool:
    """Return whether a test can run on a cluster of that kind that is elsewhere."""
    taken = getattr(item, "fixturenames", ())
    is_about_one_machine = item.get_closest_marker("one_machine") is not None
    fixtures = ("runner", "parallel_runner", *(("own_ray",) if kind == "Ray" else ()))
    return not is_about_one_machine and any(name in taken for name in fixtures)


@dataclasses.dataclass(frozen=True)
class DaskElsewhere:
    """A Dask cluster that the suite did not start.

    Attributes:
        scheduler_address: for clients.
    """

    scheduler_address: str


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Any]:
    """A Dask cluster of real processes, shared by all tests that connect to one by its address."""
    distributed = pytest.importorskip("distributed")
    if elsewhere := cluster_elsewhere(pytestconfig):
        yield DaskElsewhere(elsewhere[1])
        return
    with distributed.LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_head(pytestconfig: pytest.Config) -> Iterator[RayHead | RayThere]:
    """A Ray cluster of other processes, shared by all tests that connect to one by its address."""
    pytest.importorskip("ray")
    if elsewhere := cluster_elsewhere(pytestconfig):
        yield RayThere(elsewhere[1])
        return
    with RayHead.start(cpus=4) as head:
        yield head


@pytest.fixture
def no_ray() -> None:
    """Disconnect this process from Ray."""
    import ray

    ray.shutdown()


@pytest.fixture
def own_ray(ray_head: RayHead | RayThere) -> None:
    """Connect this process to Ray, as a program can be before its flows begin."""
    import ray

    if not ray.is_initialized():
        ray.init(address=ray_head.address, logging_level="ERROR")


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> TaskRunner:
    """A task runner: the test is repeated for each kind."""
    return make(request.param, request)


@pytest.fixture
def parallel_runner(request: pytest.FixtureRequest) -> TaskRunner:
    """A task runner whose ``submit`` does not block: the test is repeated for each kind."""
    return make(request.param, request)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A closed gate."""
    with Gate() as gate:
        yield gate


@pytest.fixture
def wait() -> Callable[[str], None]:
    """The function that tasks call to wait at a gate."""
    return wait_at


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk where tasks leave notes."""
    with Desk() as desk:
        yield desk


@pytest.fixture
def quick_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keepers in this process report, read and query Dask at shorter intervals than those of users."""
    monkeypatch.setattr("flowcluster_api.keeper.RENEW_SECONDS", 1)
    monkeypatch.setattr("flowcluster.agent.keeper.heartbeat.READ_SECONDS", 0.2)
    quick = functools.partial(Adapt, interval=0.2, down_delay=1.0, idle_seconds=1.0)
    monkeypatch.setattr("flowcluster.agent.keeper.dask_cluster.Adapt", quick)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the log lines so far, as a terminal shows them, without the time."""
    from flowcluster._output.run_formatter import RunFormatter

    caplog.set_level(logging.INFO, "flowcluster")
    formatter = RunFormatter()

    def shown() -> list[str]:
        mine = [record for record in caplog.records if record.name.startswith("flowcluster")]
        return [formatter.format(record).split(" | ", 2)[2] for record in mine]

    return shown

"""A real cluster with the chart in it, and a namespace for each test that must be empty at its end."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World, own_world, scale
from tools.cluster import cache
from tools.install import RELEASE, SYSTEM, Installed, install

#: Tests with Ray clusters: those that have "ray" in their names, and those with this mark.
RAY_GROUP = "ray clusters"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with Ray clusters one after the other, while other tests run beside them.

    The start of a Ray head keeps a CPU busy for about ten seconds. Two at a time with two other tests took 80 seconds
    each on two CPUs, and deadlines of all of them passed.
    """
    for item in items:
        has_group = item.get_closest_marker("xdist_group") is not None
        if not has_group and "ray" in item.nodeid.lower():
            item.add_marker(pytest.mark.xdist_group(RAY_GROUP))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = tmp_path_factory.getbasetemp().parent / f"shared-{run}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def installed(shared: Path) -> Installed:
    """The cluster. One of the processes that run tests sets up what is missing of it first."""
    record = shared / "installed"
    with cache.locked(shared / "installed.lock", "installing the chart"):
        if not record.exists():
            record.write_bytes(pickle.dumps(install()))
    found: Installed = pickle.loads(record.read_bytes())
    return found


@pytest.fixture
def world(installed: Installed, request: pytest.FixtureRequest) -> Iterator[World]:
    """A namespace for one test. At the end it must contain nothing but records."""
    with own_world(installed.kubeconfig, request.node.name) as here:
        yield here


@pytest.fixture
def where(installed: Installed, world: World) -> dict[str, Any]:
    """Arguments of cluster classes that select the test's namespace."""
    return {"kubeconfig": str(installed.kubeconfig), "namespace": world.namespace}


@pytest.fixture
def operator_away(installed: Installed, shared: Path) -> Iterator[None]:
    """The installed operator is scaled to zero. Such tests can run at the same time."""
    _count_away(installed, shared, 1)
    yield
    _count_away(installed, shared, -1)


def _count_away(installed: Installed, shared: Path, change: int) -> None:
    """Count the tests that need the operator away, and scale it before the first and after the last one."""
    count = shared / "operator-away"
    with cache.locked(shared / "operator-away.lock", "scaling the operator"):
        before = int(count.read_text()) if count.exists() else 0
        after = before + change
        if 0 in (before, after):
            system = World(installed.kubeconfig, SYSTEM)
            scale(system, RELEASE, 0 if after else 1)
            system.close()
        count.write_text(str(after))

"""A fake API server and the operator's client for it; tests that use them are coroutine functions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kopf
import pytest

from flowcluster_operator.kube import Kube
from tests.support.fake_api import FakeApi
from tests.support.golden import Golden
from tests.support.shared_world import World

FOLDER = Path(__file__).parent / "golden"
COMMAND = "make golden"
#: Seconds that a test on the event loop may take. It takes milliseconds.
_TIMEOUT = 20


@pytest.fixture(autouse=True)
def loop_runner() -> Iterator[asyncio.Runner]:
    """The event loop of the test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function on the event loop on which its fixtures live."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    fixtures: dict[str, Any] = pyfuncitem.funcargs
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: fixtures[name] for name in names})
    fixtures["loop_runner"].run(asyncio.wait_for(test, _TIMEOUT))
    return True


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden objects of the builders."""
    return Golden(FOLDER, request.config.getoption("--update-golden"), COMMAND)


@pytest.fixture
def api(loop_runner: asyncio.Runner) -> Iterator[FakeApi]:
    """A fake API server that holds nothing."""
    api = FakeApi()
    loop_runner.run(api.start())
    yield api
    loop_runner.run(api.stop())


@pytest.fixture
def login(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Writes the kubeconfig, with a token. It leads to the fake API server, and there are no other credentials."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)

    def write(token: str | None) -> None:
        path.write_text(api.kubeconfig(token))

    write(None)
    return write


@pytest.fixture
def kube(loop_runner: asyncio.Runner, login: object) -> Iterator[Kube]:
    """The operator's client, connected to the fake API server."""
    kube = Kube()
    loop_runner.run(kube.__aenter__())
    yield kube
    loop_runner.run(kube.__aexit__())


@pytest.fixture
def world(loop_runner: asyncio.Runner, api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A Kubernetes with upstream operators, and an operator that writes each status immediately."""
    monkeypatch.setattr("flowcluster_operator.trackers.pending_statuses.interval", lambda status: 0.0)
    world = World(api, kube)
    loop_runner.run(world.begin())
    yield world
    loop_runner.run(world.end())

"""Programs outside of Kubernetes that have a cluster, and what goes wrong with them and with their way to it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from tests.support.driver_program import LEASE_SECONDS, DriverProgram
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until
from tests.support.world import World

pytestmark = pytest.mark.timeout(300)

both_kinds = pytest.mark.parametrize("kind", ["Dask", "Ray"])


@pytest.fixture
def program(kind: str, where: dict[str, Any]) -> Iterator[DriverProgram]:
    """A driver that has a cluster and waits, with its agent."""
    with DriverProgram.start(kind, **where) as program:
        yield program


def agent_of(program: DriverProgram) -> psutil.Process:
    (agent,) = program.agents()
    return agent


def wait_seconds(seconds: float, meaning: str) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, meaning, 2 * seconds + 60)


@pytest.mark.parametrize(
    ("kind", "number"),
    [("Dask", signal.SIGKILL), ("Dask", signal.SIGTERM), ("Dask", signal.SIGINT), ("Ray", signal.SIGKILL)],
)
def test_a_driver_that_is_killed(world: World, program: DriverProgram, number: int) -> None:
    """Its agent sees it end, and gives the cluster back long before the lease is out."""
    agent = agent_of(program)
    program.send_signal(number)
    world.wait_empty(LEASE_SECONDS)
    wait_until(lambda: not agent.is_running(), "the agent has ended", 5)


@both_kinds
def test_a_driver_whose_machine_dies(world: World, program: DriverProgram) -> None:
    """With nobody left to say so, the cluster goes within the lease and ten seconds."""
    program.kill_group()
    world.wait_empty(LEASE_SECONDS + 10)
    (record,) = world.runs()
    assert world.wait_phase(record["metadata"]["name"], "Failed")["reason"] == "DriverLost"


@both_kinds
def test_a_driver_that_was_stopped_for_a_while(world: World, program: DriverProgram) -> None:
    """Stopped for less than its lease it keeps its cluster, and goes on with it."""
    program.send_signal(signal.SIGSTOP)
    wait_seconds(0.8 * LEASE_SECONDS, "it was stopped for long")
    program.send_signal(signal.SIGCONT)
    assert program.ask("result(submit(sum, [3, 4]))") == "7"


@both_kinds
def test_a_driver_whose_agent_dies(world: World, program: DriverProgram) -> None:
    """Another agent takes its place: the lease goes on, and the way to the cluster is there again."""
    first = agent_of(program)
    first.kill()
    wait_until(lambda: any(agent.pid != first.pid for agent in program.agents()), "another agent runs", 10)
    wait_seconds(1.5 * LEASE_SECONDS, "a lease would have run out")
    (run,) = world.runs()
    assert run["status"]["phase"] == "Running"


@both_kinds
def test_a_driver_that_holds_the_interpreter(program: DriverProgram) -> None:
    """Work in the driver that lets no other thread run for two leases costs it neither lease nor cluster."""
    started = time.monotonic()
    assert program.ask(f"ctypes.PyDLL(None).sleep({2 * LEASE_SECONDS})") == "0"
    assert time.monotonic() - started >= 2 * LEASE_SECONDS
    assert program.ask("result(submit(sum, [3, 4]))") == "7"


@both_kinds
def test_a_path_that_breaks(kind: str, where: dict[str, Any], tmp_path: Path) -> None:
    """The API server is out of reach for half a lease: what runs on the cluster goes on, and what is held stays."""
    config = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    (named,) = config["clusters"]
    server = urlsplit(named["cluster"]["server"])
    with TcpProxy.to(str(server.hostname), server.port or 443) as proxy:
        named["cluster"] |= {"server": f"https://127.0.0.1:{proxy.port}", "tls-server-name": str(server.hostname)}
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        with DriverProgram.start(kind, kubeconfig, where["namespace"]) as program:
            program.tell(f"result(submit(time.sleep, {LEASE_SECONDS}))")
            proxy.cut()
            wait_seconds(LEASE_SECONDS / 2, "it was away for long")
            proxy.mend()
            assert program.answer() == "None"
            assert program.ask("result(first)") == "3"
            assert program.ask("result(submit(sum, [3, 4]))") == "7"


@pytest.mark.parametrize("kind", ["Ray"])
def test_another_number_of_ray_workers(world: World, program: DriverProgram) -> None:
    """More come at once; those too many go when they have had nothing to do for a while. Nothing else is understood."""

    def workers() -> int:
        return sum(pod.metadata.deletion_timestamp is None for pod in world.pods("worker"))

    assert "wait_count" in program.ask("cluster.adapt(minimum=0, wait_count=3)")
    assert program.ask("cluster.scale(-1)").startswith("ValueError: A cluster cannot have -1 workers")
    assert program.ask("cluster.wait_for_workers(2, timeout=1)").startswith("TimeoutError: 1 of 2 workers")
    assert program.ask("cluster.scale(2)") == "None"
    assert program.ask("cluster.wait_for_workers(2)") == "None"
    assert workers() == 2
    assert program.ask("cluster.adapt(minimum=0, maximum=1)") == "None"
    wait_until(lambda: workers() == 0, "no worker is left, as there is no work", 90)
    assert program.ask("cluster.scale(1)") == "None"
    assert program.ask("cluster.wait_for_workers(1)") == "None"

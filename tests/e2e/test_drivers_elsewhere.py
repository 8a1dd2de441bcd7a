"""Programs outside of Kubernetes that have a cluster: losses of the program, of its agent and of the connection."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import pytest

from tests.support.driver_program import LEASE_SECONDS, DriverProgram
from tests.support.tcp_proxy import TcpProxy, broken_path
from tests.support.waiting import wait_until
from tests.support.world import World, own_world
from tools.install import Installed

pytestmark = pytest.mark.timeout(300)
on_ray_too = pytest.mark.xdist_group("ray clusters")


@contextmanager
def started(*kinds: str, **where: Any) -> Iterator[list[DriverProgram]]:
    """Start drivers with agents, each with a cluster, which then wait."""
    with ExitStack() as stack:
        programs = [stack.enter_context(DriverProgram.start(kind, **where)) for kind in kinds]
        for program in programs:
            program.wait_until_ready()
        yield programs


@dataclasses.dataclass(frozen=True)
class Lasting:
    """Programs that several tests use, one after the other. Each test must leave them as they were.

    Attributes:
        world: their namespace.
        proxy: their path to the API server.
        programs: a program with a Dask cluster and one with a Ray cluster.
    """

    world: World
    proxy: TcpProxy
    programs: list[DriverProgram]


@pytest.fixture(scope="module")
def lasting(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lasting]:
    """Programs that each have a cluster, and reach the API server through a proxy."""
    copy = tmp_path_factory.mktemp("over-proxy") / "kubeconfig"
    with (
        own_world(installed.kubeconfig, "lasting programs") as world,
        broken_path(installed.kubeconfig, copy) as (proxy, kubeconfig),
        started("Dask", "Ray", kubeconfig=str(kubeconfig), namespace=world.namespace) as programs,
    ):
        yield Lasting(world, proxy, programs)


def agent_of(program: DriverProgram) -> psutil.Process:
    (agent,) = program.agents()
    return agent


def reasons(world: World) -> list[str]:
    """Wait until each run has failed, and return the reasons."""
    return [world.wait_phase(run["metadata"]["name"], "Failed")["reason"] for run in world.runs()]


def phases(world: World) -> list[str]:
    """Return the phase of each run."""
    return [run["status"]["phase"] for run in world.runs()]


def wait_seconds(seconds: float, meaning: str) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, meaning, 2 * seconds + 60)


#: Each signal, and the kinds of the clusters. A signal ends the driver in the same way with each kind.
KILLED = [
    pytest.param(signal.SIGKILL, ("Dask", "Ray"), id="SIGKILL-Dask-Ray"),
    pytest.param(signal.SIGTERM, ("Dask",), id="SIGTERM"),
    # That programs end on both signals alike is in tests/contract/test_interruptions_of_drivers.py.
    pytest.param(signal.SIGINT, ("Dask",), id="SIGINT", marks=pytest.mark.long),
    pytest.param(signal.SIGTERM, ("Ray",), id="SIGTERM-Ray", marks=pytest.mark.long),
    pytest.param(signal.SIGINT, ("Ray",), id="SIGINT-Ray", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("number", "kinds"), KILLED)
def test_agent_releases_the_cluster_when_its_driver_is_killed(
    world: World, where: dict[str, Any], number: int, kinds: tuple[str, ...]
) -> None:
    """The agent observes the end of the driver, and releases the cluster long before the lease expires."""
    with started(*kinds, **where) as programs:
        agents = [agent_of(program) for program in programs]
        for program in programs:
            program.send_signal(number)
        world.wait_empty(LEASE_SECONDS)
        wait_until(lambda: not any(agent.is_running() for agent in agents), "the agents have ended", 5)
        if number == signal.SIGKILL:
            assert reasons(world) == ["DriverLost"] * len(kinds)


# SIGKILL-Dask-Ray deletes the Ray cluster of a lost driver. When a Lease expires does not depend on the kind.
@pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])
def test_operator_deletes_the_cluster_when_the_machine_of_its_driver_dies(
    world: World, where: dict[str, Any], kind: str
) -> None:
    """Without a process that reports the loss, the operator deletes the cluster within the lease and ten seconds."""
    with started(kind, **where) as (program,):
        program.kill_with_agent()
        world.wait_empty(LEASE_SECONDS + 10)
        assert reasons(world) == ["DriverLost"]


@on_ray_too
def test_driver_keeps_its_cluster_when_it_is_stopped_for_less_than_its_lease(lasting: Lasting) -> None:
    """It uses the same cluster when it continues."""
    for program in lasting.programs:
        program.send_signal(signal.SIGSTOP)
    wait_seconds(0.8 * LEASE_SECONDS, "they were stopped for long")
    for program in lasting.programs:
        program.send_signal(signal.SIGCONT)
    for program in lasting.programs:
        assert program.ask("result(submit(sum, [3, 4]))") == "7"
    assert phases(lasting.world) == ["Running", "Running"]


@on_ray_too
def test_driver_keeps_its_cluster_when_it_holds_the_interpreter(lasting: Lasting) -> None:
    """Work in the driver that lets no other thread run for two leases does not lose the lease or the cluster."""
    began = time.monotonic()
    for program in lasting.programs:
        program.tell(f"hold_interpreter({2 * LEASE_SECONDS + 1})")
    for program in lasting.programs:
        assert program.answer() == "0"
        assert time.monotonic() - began > 2 * LEASE_SECONDS
        assert program.ask("result(submit(sum, [3, 4]))") == "7"


@on_ray_too
def test_driver_keeps_its_cluster_when_the_api_server_is_unreachable(lasting: Lasting) -> None:
    """The API server is unreachable for half a lease. Tasks on the cluster continue, and held results stay."""
    workers = [program.ask("result(submit(os.uname))") for program in lasting.programs]
    for program in lasting.programs:
        program.tell(f"result(submit(last, {LEASE_SECONDS}))")
    lasting.proxy.cut()
    wait_seconds(LEASE_SECONDS / 2, "it was away for long")
    lasting.proxy.mend()
    for program, worker in zip(lasting.programs, workers, strict=True):
        assert program.answer() == "None"
        assert program.ask("result(first)") == "3"
        assert program.ask("result(submit(os.uname))") == worker
        assert program.ask("is_connected()") == "True"


@on_ray_too  # the last test with these programs: with its connection, a Dask client loses what it holds
def test_driver_starts_another_agent_when_its_agent_dies(lasting: Lasting) -> None:
    """The other agent renews the lease."""
    first = [agent_of(program) for program in lasting.programs]
    for agent in first:
        agent.kill()
    wait_until(
        lambda: all(
            any(agent.pid != before.pid for agent in program.agents())
            for program, before in zip(lasting.programs, first, strict=True)
        ),
        "other agents run",
        10,
    )
    wait_seconds(1.5 * LEASE_SECONDS, "a lease would have run out")
    assert phases(lasting.world) == ["Running", "Running"]


@pytest.mark.xdist_group("ray idle")  # it waits most of the time, so it can run beside another Ray cluster
def test_scale_changes_the_number_of_ray_workers(world: World, where: dict[str, Any]) -> None:
    """New workers start immediately. Surplus ones end after a time without work. Other arguments are refused."""
    with started("Ray", **where) as (program,):
        assert "wait_count" in program.ask("cluster.adapt(minimum=0, wait_count=3)")
        assert program.ask("cluster.scale(-1)").startswith("ValueError: A cluster cannot have -1 workers")
        assert program.ask("cluster.wait_for_workers(2, timeout=1)").startswith("TimeoutError: 1 of 2 workers")
        assert program.ask("cluster.scale(2)") == "None"
        assert program.ask("cluster.wait_for_workers(2)") == "None"
        assert world.live_workers() == 2
        assert program.ask("cluster.adapt(minimum=0, maximum=1)") == "None"
        wait_until(lambda: world.live_workers() == 0, "no worker is left, as there is no work", 90)
        assert program.ask("cluster.scale(1)") == "None"
        assert program.ask("cluster.wait_for_workers(1)") == "None"

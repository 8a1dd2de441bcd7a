"""Clusters that a Python process asks for: used, given back, and never left behind. The API server tells."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from distributed import Client

from flowcluster import flow, task
from flowcluster.clusters import DaskKubernetesCluster
from flowcluster.errors import ClusterLost, ClusterNotStarted, KubernetesError
from flowcluster.task_runners import DaskTaskRunner
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until
from tests.support.world import World
from tools.install import Installed

pytestmark = [
    pytest.mark.timeout(240),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

SECONDS = 10


@pytest.fixture
def where(installed: Installed, world: World) -> dict[str, Any]:
    """Arguments that lead to the test's namespace."""
    return {"kubeconfig": str(installed.kubeconfig), "namespace": world.namespace}


def status_of_only(world: World) -> dict[str, Any]:
    (run,) = world.runs()
    return dict(run.get("status") or {})


def test_a_cluster_for_a_client(world: World, where: dict[str, Any]) -> None:
    """It is used like any other Dask cluster, and is given back at the end of the block."""
    with DaskKubernetesCluster(n_workers=1, env={"GREETING": "hello"}, **where) as cluster, Client(cluster) as client:
        assert client.submit(os.getenv, "GREETING").result(30) == "hello"
        status = status_of_only(world)
        assert status["phase"] == "Running"
        assert cluster.name == world.runs()[0]["metadata"]["name"]
        assert "Connected" in str(cluster.logs(workers=False)) or cluster.logs()["Cluster"]
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    world.wait_empty(20)
    status = world.wait_phase(cluster.name, "Succeeded", "Failed")
    assert (status["phase"], status["message"]) == ("Succeeded", "the driver gave the cluster back")


def test_a_cluster_on_an_event_loop(world: World, where: dict[str, Any]) -> None:
    """Opened, scaled, used and closed by coroutines."""

    async def use() -> Any:
        async with (
            DaskKubernetesCluster(asynchronous=True, **where) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            await cluster.scale(1)
            return await client.submit(sum, [1, 2])

    assert asyncio.run(use()) == 3


def test_a_flow_with_a_cluster_of_its_own(world: World, where: dict[str, Any]) -> None:
    """Its FlowRun is named after the flow run, and its tasks run in the cluster's pods."""

    @task
    def host() -> str:
        return os.uname().nodename

    runner = DaskTaskRunner(
        cluster_class="flowcluster.clusters.DaskKubernetesCluster", cluster_kwargs={"n_workers": 1, **where}
    )

    @flow(task_runner=runner, flow_run_name="gentle-otter")
    def body() -> str:
        name: str = host.submit().result()
        assert name in [pod.metadata.name for pod in world.pods("worker")]
        return name

    name = body()
    (run,) = world.runs()
    assert run["metadata"]["name"].startswith("gentle-otter-")
    status = world.wait_phase(run["metadata"]["name"], "Succeeded", "Failed")
    assert (status["phase"], status["reason"]) == ("Succeeded", "Succeeded")
    assert status["flow"]["result"] == f'"{name}"'
    assert status["display"]["tasks"] == "1/1"


def test_a_flow_that_fails_on_a_cluster_of_its_own(world: World, where: dict[str, Any]) -> None:
    """The record of its cluster says so, in the words of the flow's own exception."""

    @flow(task_runner=DaskTaskRunner(cluster_class=DaskKubernetesCluster, cluster_kwargs=where))
    def body() -> None:
        raise ValueError("no bananas")

    assert body(return_state=True).is_failed()
    status = world.wait_phase(world.runs()[0]["metadata"]["name"], "Succeeded", "Failed")
    assert (status["phase"], status["reason"]) == ("Failed", "FlowFailed")
    assert "no bananas" in status["message"]


def test_a_run_that_somebody_deletes(world: World, where: dict[str, Any]) -> None:
    """The flow fails as ClusterLost and says how: it does not go on as if nothing had happened."""

    @task
    def nap() -> None:
        time.sleep(600)

    options = {"n_workers": 1, "lease_duration_seconds": SECONDS, **where}

    @flow(task_runner=DaskTaskRunner(cluster_class=DaskKubernetesCluster, cluster_kwargs=options))
    def body() -> None:
        future = nap.submit()
        wait_until(lambda: future.state.is_running(), "the task runs")
        world.delete(world.runs()[0]["metadata"]["name"])
        future.wait()

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterLost, match="was deleted"):
        state.result()


def test_an_image_that_does_not_exist(world: World, where: dict[str, Any]) -> None:
    """The start fails with Kubernetes' own cause within the deadline, and nothing is left."""
    with pytest.raises(ClusterNotStarted, match="image"):
        DaskKubernetesCluster(image="registry.invalid/nothing:1", start_deadline_seconds=15, **where)


def test_whoever_waits_in_a_terminal_sees_why(world: World, where: dict[str, Any]) -> None:
    """A cluster that is asked for outside of a flow has a line of its own, with Kubernetes' cause, which goes again."""
    program = (
        "import sys; from flowcluster.clusters import DaskKubernetesCluster; DaskKubernetesCluster("
        "image='registry.invalid/nothing:1', start_deadline_seconds=10, kubeconfig=sys.argv[1], namespace=sys.argv[2])"
    )
    person, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", program, where["kubeconfig"], where["namespace"]],
        env=environment | {"TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # every program has closed the terminal
        while data := os.read(person, 65536):
            seen += data
    os.close(person)

    assert process.wait(60) == 1
    *_, shown = re.findall(rb"\x1b\[2K\x1b\[\?7l(.*?)\x1b\[\?7h", seen)
    assert re.match(rb"dask-\w+: \w*Image\w*: .* \(\d+ s\)$", shown), shown
    assert shown not in seen[seen.rindex(b"Traceback") :]


def test_a_wrong_field_is_named(world: World, where: dict[str, Any]) -> None:
    """What a FlowRun does not know is refused by its name, before anything is created."""
    with pytest.raises(KubernetesError, match=r"spec\.cluster\.workers\.thread"):
        DaskKubernetesCluster(workers={"thread": 2}, **where)
    assert not world.runs()


PROGRAM = """
import ctypes, sys
from distributed import Client
from flowcluster.clusters import DaskKubernetesCluster

cluster = DaskKubernetesCluster(n_workers=1, lease_duration_seconds=10, kubeconfig=sys.argv[1], namespace=sys.argv[2])
client = Client(cluster)
print(client.submit(sum, [1, 2]).result(), flush=True)
if sys.stdin.readline() == "hold\\n":
    ctypes.PyDLL(None).sleep(21)
print(client.submit(sum, [3, 4]).result(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def program(where: dict[str, Any], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver that has a cluster and waits, with its agent."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    process = subprocess.Popen(
        [sys.executable, str(path), where["kubeconfig"], where["namespace"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "3\n"
    yield process
    process.kill()
    process.communicate()


def agents(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE and "flowcluster.agent" in one.cmdline()]


def agent_of(process: subprocess.Popen[str]) -> psutil.Process:
    (agent,) = agents(process)
    return agent


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_killed(world: World, program: subprocess.Popen[str], number: int) -> None:
    """Its agent sees it end, and gives the cluster back long before the lease is out."""
    agent = agent_of(program)
    program.send_signal(number)
    world.wait_empty(SECONDS)
    wait_until(lambda: not agent.is_running(), "the agent has ended", 5)


def test_a_driver_whose_machine_dies(world: World, program: subprocess.Popen[str]) -> None:
    """With nobody left to say so, the cluster goes within the lease and ten seconds."""
    agent_of(program).kill()
    os.killpg(program.pid, signal.SIGKILL)
    world.wait_empty(SECONDS + 10)
    (record,) = world.runs()
    assert world.wait_phase(record["metadata"]["name"], "Failed")["reason"] == "DriverLost"


def test_a_driver_that_was_stopped_for_a_while(world: World, program: subprocess.Popen[str]) -> None:
    """Stopped for less than its lease it keeps its cluster, and goes on with it."""
    program.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 0.8 * SECONDS
    wait_until(lambda: time.monotonic() > until, "it was stopped for long", 60)
    program.send_signal(signal.SIGCONT)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "7\n"


def test_a_driver_whose_agent_dies(world: World, program: subprocess.Popen[str]) -> None:
    """Another agent takes its place, and the lease goes on."""
    first = agent_of(program)
    first.kill()
    wait_until(
        lambda: any(agent_of(program).pid != first.pid for _ in [0] if agents(program)), "another agent runs", 10
    )
    until = time.monotonic() + 1.5 * SECONDS
    wait_until(lambda: time.monotonic() > until, "a lease would have run out", 60)
    assert status_of_only(world)["phase"] == "Running"


def test_a_driver_that_holds_the_interpreter(world: World, program: subprocess.Popen[str]) -> None:
    """A task in the driver that lets no other thread run for two leases costs it neither lease nor cluster."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("hold\n")
    program.stdin.flush()
    started = time.monotonic()
    assert program.stdout.readline() == "7\n"
    assert time.monotonic() - started > 2 * SECONDS


def test_a_path_that_breaks(world: World, where: dict[str, Any], tmp_path: Path) -> None:
    """The API server is out of reach for half a lease: what runs on the cluster goes on, and its client with it."""
    config = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    (named,) = config["clusters"]
    server = urlsplit(named["cluster"]["server"])
    with TcpProxy.to(str(server.hostname), server.port or 443) as proxy:
        named["cluster"] |= {"server": f"https://127.0.0.1:{proxy.port}", "tls-server-name": str(server.hostname)}
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        options: dict[str, Any] = {
            "kubeconfig": str(kubeconfig),
            "namespace": world.namespace,
            "lease_duration_seconds": SECONDS,
        }
        with DaskKubernetesCluster(n_workers=1, **options) as cluster, Client(cluster) as client:
            before = client.submit(os.getpid)
            slow = client.submit(time.sleep, SECONDS / 2)
            first = before.result(30)
            proxy.cut()
            until = time.monotonic() + SECONDS / 2
            wait_until(lambda: time.monotonic() > until, "it was away for long", 60)
            proxy.mend()
            slow.result(60)
            assert client.submit(os.getpid, pure=False).result(30) == first == before.result()
            assert client.status == "running"


def test_whoever_may_edit_a_namespace_may_have_clusters(
    world: World, installed: Installed, where: dict[str, Any], tmp_path: Path
) -> None:
    """Kubernetes' own role `edit` is enough: it takes no administrator."""
    account = {"metadata": {"name": "engineer"}}
    world.core.create_namespaced_service_account(world.namespace, account)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "engineer", "namespace": world.namespace}
    world.rbac.create_namespaced_role_binding(
        world.namespace, {"metadata": {"name": "engineer"}, "roleRef": role, "subjects": [subject]}
    )
    command = [str(installed.kubectl), "--kubeconfig", where["kubeconfig"], "-n", world.namespace]
    token = subprocess.run(
        [*command, "create", "token", "engineer"], check=True, capture_output=True, text=True
    ).stdout.strip()
    config = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))

    with (
        DaskKubernetesCluster(kubeconfig=str(kubeconfig), namespace=world.namespace) as cluster,
        Client(cluster) as client,
    ):
        assert client.submit(sum, [1, 2]).result(60) == 3

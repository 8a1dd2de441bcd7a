"""Clusters of a Python process: created, used and released. The API server lists what is left."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from distributed import Client

from flowcluster import Flow, flow, task
from flowcluster.clusters import DaskKubernetesCluster, RayKubernetesCluster
from flowcluster.errors import ClusterLost, ClusterNotStarted, KubernetesError
from flowcluster.futures import TaskFuture
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner
from flowcluster_api import names
from tests.support.driver_program import LEASE_SECONDS
from tests.support.shared_programs import work_for
from tests.support.waiting import wait_until
from tests.support.world import World
from tools.install import Installed

pytestmark = [
    pytest.mark.timeout(240),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

CLASSES: dict[str, Any] = {"Dask": DaskKubernetesCluster, "Ray": RayKubernetesCluster}
RUNNERS: dict[str, Any] = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}

both_kinds = pytest.mark.parametrize("kind", list(CLASSES))
#: For tests of code that both kinds share: `make test` runs them with the kind that starts faster.
either_kind = pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])


def on_cluster(kind: str, body: Callable[..., Any], name: str | None = None, **kwargs: Any) -> Flow[..., Any]:
    """Return a flow with a cluster of its own."""
    runner = RUNNERS[kind](cluster_class=f"flowcluster.clusters.{kind}KubernetesCluster", cluster_kwargs=kwargs)
    return flow(task_runner=runner, flow_run_name=name)(body)


def status_of_only(world: World) -> dict[str, Any]:
    """Wait until the only FlowRun is over, and return its status."""
    (run,) = world.runs()
    return world.wait_phase(run["metadata"]["name"], "Succeeded", "Failed", "Cancelled")


def begin_nap() -> TaskFuture[None]:
    """Start a task, within a flow, that still runs when something fails."""

    # Here, and not in the module, which workers in pods do not have.
    @task
    def nap() -> None:
        threading.Event().wait()

    future = nap.submit()
    wait_until(lambda: future.state.is_running(), "the task runs", 60)
    return future


@both_kinds
def test_block_of_a_cluster_creates_and_releases_it(kind: str, world: World, where: dict[str, Any]) -> None:
    """It can be used like any other Dask or Ray cluster, and is released at the end of the block."""
    with (
        CLASSES[kind](n_workers=1, env={"GREETING": "hello"}, **where) as cluster,
        work_for(cluster) as run,
    ):
        assert run(os.getenv, "GREETING") == "hello"
        (record,) = world.runs()
        assert record["metadata"]["name"] == cluster.name
        assert record["status"]["phase"] == "Running"
        wait_until(lambda: "Connected" in cluster.logs()["Cluster"], "the operator has recorded its heartbeat", 20)
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    assert not ray.is_initialized()
    world.wait_empty(20)
    status = status_of_only(world)
    assert (status["phase"], status["message"]) == ("Succeeded", "the driver released the cluster")


def test_dask_cluster_can_be_used_on_an_event_loop(where: dict[str, Any]) -> None:
    """Coroutines open, scale, use and close it."""

    async def use() -> Any:
        async with (
            DaskKubernetesCluster(asynchronous=True, **where) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            await cluster.scale(1)
            return await client.submit(sum, [1, 2])

    assert asyncio.run(use()) == 3


@pytest.mark.long
def test_ray_cluster_can_be_used_on_an_event_loop(where: dict[str, Any]) -> None:
    """Coroutines open, use and close it."""

    async def use() -> Any:
        async with RayKubernetesCluster(n_workers=1, asynchronous=True, **where) as cluster:
            await asyncio.to_thread(ray.init, cluster.address)
            return await ray.remote(lambda: sum([1, 2])).remote()

    assert asyncio.run(use()) == 3


@both_kinds
def test_flow_runs_its_tasks_on_a_cluster_of_its_own(kind: str, world: World, where: dict[str, Any]) -> None:
    """Its FlowRun is named after the flow run, and its tasks run in the cluster's pods."""

    @task
    def host() -> str:
        return os.uname().nodename

    def body() -> str:
        name: str = host.submit().result()
        assert name in [pod.metadata.name for pod in world.pods("worker")]
        return name

    name = on_cluster(kind, body, "gentle-otter", n_workers=1, **where)()
    (run,) = world.runs()
    assert run["metadata"]["name"].startswith("gentle-otter-")
    status = status_of_only(world)
    assert (status["phase"], status["reason"]) == ("Succeeded", "Succeeded")
    assert status["flow"]["result"] == f'"{name}"'
    assert status["display"]["tasks"] == "1/1"


@either_kind
def test_record_of_the_cluster_has_the_exception_when_its_flow_fails(
    kind: str, world: World, where: dict[str, Any]
) -> None:
    """The message of the record is the text of the flow's own exception."""

    def body() -> None:
        raise ValueError("no bananas")

    assert on_cluster(kind, body, **where)(return_state=True).is_failed()
    status = status_of_only(world)
    assert (status["phase"], status["reason"]) == ("Failed", "FlowFailed")
    assert "no bananas" in status["message"]


@either_kind
def test_flow_fails_when_its_flow_run_object_is_deleted(kind: str, world: World, where: dict[str, Any]) -> None:
    """The flow fails as ClusterLost, with the deletion as the cause."""

    def body() -> None:
        future = begin_nap()
        world.delete(world.runs()[0]["metadata"]["name"])
        future.wait()

    state = on_cluster(kind, body, n_workers=1, lease_duration_seconds=LEASE_SECONDS, **where)(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterLost, match="was deleted"):
        state.result()


def test_flow_fails_when_the_head_of_its_ray_cluster_is_lost(world: World, where: dict[str, Any]) -> None:
    """The flow and its record fail immediately, and nothing of the cluster is created again."""

    def body() -> None:
        future = begin_nap()
        (head,) = world.pods("head")
        world.core.delete_namespaced_pod(head.metadata.name, world.namespace, grace_period_seconds=0)
        future.wait(20)
        assert future.done()

    state = on_cluster("Ray", body, n_workers=1, **where)(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterLost):
        state.result()
    status = status_of_only(world)
    assert (status["phase"], status["reason"]) == ("Failed", "ClusterLost")


@either_kind
def test_start_fails_when_the_image_does_not_exist(kind: str, where: dict[str, Any]) -> None:
    """It fails within the deadline with Kubernetes' own cause, and nothing is left."""
    with pytest.raises(ClusterNotStarted, match="image"):
        CLASSES[kind](image="registry.invalid/nothing:1", start_deadline_seconds=15, **where)


@pytest.mark.parametrize(
    ("name", "what"),
    [("ray.__version__", "Ray"), pytest.param("platform.python_version", "Python", marks=pytest.mark.long)],
)
def test_start_fails_when_versions_of_ray_or_python_differ(
    name: str, what: str, world: World, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The versions of driver and cluster are compared before any work, and the error names what to do."""
    monkeypatch.setattr(name, "2.0.0" if what == "Ray" else lambda: "2.0.0")
    with pytest.raises(ClusterNotStarted, match=f"The cluster runs {what} .* and this process {what} 2.0.* image"):
        RayKubernetesCluster(n_workers=0, **where)
    world.wait_empty(20)
    assert status_of_only(world)["phase"] == "Cancelled"


def test_terminal_shows_why_a_start_waits(world: World, where: dict[str, Any]) -> None:
    """The start of a cluster outside of a flow has a progress line with Kubernetes' cause. It is erased at the end."""
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


@both_kinds
def test_unknown_field_is_refused_by_name(kind: str, world: World, where: dict[str, Any]) -> None:
    """The error names a field that a FlowRun does not have, before anything is created."""
    with pytest.raises(KubernetesError, match=r"spec\.cluster\.workers\.thread"):
        CLASSES[kind](workers={"thread": 2}, **where)
    assert not world.runs()


def test_user_who_can_edit_a_namespace_can_create_clusters(
    world: World, installed: Installed, where: dict[str, Any], tmp_path: Path
) -> None:
    """Kubernetes' own role `edit` is enough."""
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
        (lease,) = world.leases()
        (made,) = world.rbac.list_namespaced_role(world.namespace, label_selector=names.LABEL_RUN).items
        (bound,) = world.rbac.list_namespaced_role_binding(world.namespace, label_selector=names.LABEL_RUN).items
        assert [rule.resource_names for rule in made.rules if rule.resources == ["leases"]] == [[lease]]
        assert [subject.name for subject in bound.subjects] == [f"system:serviceaccount:{world.namespace}:engineer"]

"""Flows that are submitted, by command and from Python, as a user who can only edit a namespace."""

from __future__ import annotations

import http.server
import importlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcluster.errors import CancelledRun, KubernetesError, NotFound, ResultGone, SubmittedRunFailed
from tests.support.tcp_proxy import broken_path
from tests.support.waiting import wait_until
from tests.support.world import FLOWS, World
from tools.install import Installed

pytestmark = pytest.mark.timeout(180)

FILE = FLOWS / "to_submit.py"


@pytest.fixture
def kubeconfig(world: World, installed: Installed, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a user with Kubernetes' role `edit` in the test's namespace. Records are deleted at the end."""
    world.core.create_namespaced_service_account(world.namespace, {"metadata": {"name": "engineer"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "engineer", "namespace": world.namespace}
    binding = {"metadata": {"name": "engineer"}, "roleRef": role, "subjects": [subject]}
    world.rbac.create_namespaced_role_binding(world.namespace, binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = world.core.create_namespaced_service_account_token("engineer", world.namespace, request)
    config = yaml.safe_load(installed.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer.status.token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield path
    # The code is deleted with its record, so that nothing of a run is left after that.
    for run in world.runs():
        world.delete(run["metadata"]["name"])


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file of flows as a module."""
    monkeypatch.syspath_prepend(str(FILE.parent))
    yield importlib.import_module(FILE.stem)
    del sys.modules[FILE.stem]


@pytest.fixture
def where(kubeconfig: Path, world: World) -> dict[str, Any]:
    """Arguments that select the test's namespace."""
    return {"kubeconfig": str(kubeconfig), "namespace": world.namespace}


class Command:
    """`flowcluster submit` for one namespace."""

    def __init__(self, where: dict[str, Any]) -> None:
        self._where = where

    def begin(self, flow: str, *arguments: str) -> subprocess.Popen[str]:
        """Start it."""
        place = ["--kubeconfig", self._where["kubeconfig"], "-n", self._where["namespace"]]
        return subprocess.Popen(
            [sys.executable, "-m", "flowcluster.cli.main", "submit", f"{FILE}:{flow}", *place, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, flow: str, *arguments: str) -> tuple[int, str, str]:
        """Run it to its end, and return exit code, stdout and stderr."""
        process = self.begin(flow, *arguments)
        out, err = process.communicate()
        return process.returncode, out, err


@pytest.fixture
def command(where: dict[str, Any]) -> Command:
    """The command, with the rights of that user."""
    return Command(where)


def until_started(world: World, process: subprocess.Popen[str]) -> str:
    """Read until the flow's own first line, and return the run's name."""
    assert process.stdout is not None
    for line in process.stdout:
        if "long flow started" in line:
            break
    (run,) = world.runs()
    return str(run["metadata"]["name"])


def test_submit_shows_phases_log_and_result_of_the_run(world: World, command: Command) -> None:
    """The run has a cluster of its own."""
    code, out, err = command.run("doubles", "-p", "numbers=[1, 2]", "--workers", "1", "--watch")
    (run,) = world.runs()
    name = run["metadata"]["name"]

    assert (code, err) == (0, "")
    assert out.startswith(f"flowrun/{name} created in namespace {world.namespace}; Ctrl-C ends")
    for shown in (" Starting  Creating: DaskCluster ", " Stopping  Succeeded: "):
        assert out.count(shown) == 1
    assert out.count("the flow says hello\n") == 1
    assert out.endswith(f"{name}: Completed (2 of 2 tasks completed)\nresult: [2, 4]\n")
    assert run["status"]["cluster"]["peakWorkers"] == 1
    assert f"ConfigMap {run['spec']['flow']['source']['configMap']['name']}" in world.everything()


def test_submit_exits_with_1_when_the_watched_flow_fails(command: Command) -> None:
    """With `--json`, all of stdout is one document."""
    code, out, err = command.run("bad", "--watch", "--json")
    document = json.loads(out)

    assert (code, document["exitCode"], document["state"], document["reason"]) == (1, 1, "Failed", "FlowFailed")
    assert "the answer is not 42" in document["message"]
    assert "attempt\n" in err


def test_submit_without_watch_prints_how_to_watch(world: World, command: Command) -> None:
    """The command ends once the run is created. The run has the requested name."""
    code, out, _ = command.run("doubles", "-p", "numbers=[3]", "--name", "daily")

    assert code == 0
    assert out.splitlines()[0] == f"flowrun/daily created in namespace {world.namespace}"
    assert world.wait_phase("daily", "Succeeded", "Failed")["flow"]["result"] == "[6]"

    code, _, err = command.run("doubles", "-p", "numbers=[3]", "--name", "daily")
    assert code == 2
    assert '"daily" already exists' in err


def test_ctrl_c_ends_only_the_watching(world: World, command: Command) -> None:
    """The run continues, and the last line names the command that stops it. That command cancels the run."""
    process = command.begin("long", "--watch")
    name = until_started(world, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130
    assert f"FlowRun {name} goes on. To stop it: kubectl -n {world.namespace} patch flowrun {name} --type merge" in err
    assert world.status(name)["phase"] in ("Starting", "Running")
    world.patch(name, {"cancel": True})
    world.wait_phase(name, "Cancelled")


@pytest.mark.parametrize(("how", "code"), [("cancel", 3), ("delete", 4)])
def test_exit_code_of_submit_differs_when_the_run_is_cancelled_or_deleted(
    world: World, command: Command, how: str, code: int
) -> None:
    """A cancelled run and a deleted one have different exit codes."""
    process = command.begin("long", "--watch")
    name = until_started(world, process)
    if how == "cancel":
        world.patch(name, {"cancel": True})
    else:
        world.delete(name)
    process.communicate()

    assert process.returncode == code


@pytest.mark.parametrize(
    ("name", "kind"), [("hosts", "Dask"), pytest.param("hosts_on_ray", "Ray", marks=pytest.mark.long)]
)
def test_submitted_flow_uses_the_cluster_of_its_task_runner(
    flows: Any, where: dict[str, Any], world: World, name: str, kind: str
) -> None:
    """The cluster of its task runner is the run's own cluster, and there is no child run."""
    run = getattr(flows, name).submit_to_kubernetes(**where)
    in_task, in_flow = run.result(timeout=120)

    assert run.wait(0) == "Succeeded"
    assert in_task != in_flow
    (only,) = world.runs()
    assert only["metadata"]["uid"] == run.uid
    cluster = only["spec"]["cluster"]
    assert (cluster["kind"], cluster["workers"]["minimum"], cluster["workers"]["maximum"]) == (kind, 0, 2)


def test_log_is_complete_when_connections_break(flows: Any, where: dict[str, Any], tmp_path: Path) -> None:
    """Each line is shown once and no line is lost, although all connections break repeatedly."""
    count = 300
    with broken_path(Path(where["kubeconfig"]), tmp_path / "over-proxy") as (proxy, kubeconfig):
        run = flows.talks.submit_to_kubernetes({"lines": count}, **where | {"kubeconfig": str(kubeconfig)})
        lines = []
        for line in run.logs():
            lines.append(line)
            if len(lines) % 150 == 0:
                proxy.cut()
                proxy.mend()

    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(count)]
    assert (lines.count("same"), lines.count("other")) == (count, count)


def test_log_has_the_lines_of_each_attempt(flows: Any, where: dict[str, Any]) -> None:
    """The log of a driver that is started again is read too."""
    run = flows.bad.submit_to_kubernetes(spec={"flow": {"backoffLimit": 1}}, **where)

    assert [line for line in run.logs() if line == "attempt"] == ["attempt", "attempt"]
    with pytest.raises(SubmittedRunFailed, match=r"FlowFailed: ValueError: the answer is not 42") as caught:
        run.result()
    assert caught.value.reason == "FlowFailed"


def test_large_result_is_returned_through_a_storage(flows: Any, where: dict[str, Any], world: World) -> None:
    """The result has objects of a class of the submitted file. The record has the URL."""
    with storage(world) as url:
        run = flows.points.submit_to_kubernetes(result_storage=url, **where)
        points = run.result(timeout=60)

    assert [point.x for point in points] == list(range(10_000))
    flow = world.status(run.name)["flow"]
    assert flow["resultUrl"] == f"{url}/{world.namespace}-{run.name}-{run.uid}.pickle"
    assert "result" not in flow


def test_result_raises_when_a_large_one_has_no_storage(flows: Any, where: dict[str, Any]) -> None:
    """The flow completed. `result` raises an error with the cause."""
    run = flows.points.submit_to_kubernetes(**where)

    with pytest.raises(ResultGone, match=r"cannot be written as JSON.*name a result storage"):
        run.result(timeout=60)


def test_cancelled_run_ends_immediately_and_keeps_its_record(flows: Any, where: dict[str, Any], world: World) -> None:
    """It has no result, and its record stays until it is deleted."""
    run = flows.long.submit_to_kubernetes(**where)
    wait_until(lambda: run.status().get("phase") == "Running", "it runs")
    with pytest.raises(TimeoutError, match="has not ended after 0 s"):
        run.wait(0)
    run.cancel()

    with pytest.raises(CancelledRun, match=r"spec\.cancel"):
        run.result(timeout=60)
    world.wait_phase(run.name, "Cancelled")
    world.delete(run.name)
    with pytest.raises(NotFound, match="was deleted"):
        run.status()


def test_submit_leaves_no_run_when_its_code_cannot_be_stored(flows: Any, where: dict[str, Any], world: World) -> None:
    """The error has the API server's refusal, and the FlowRun is deleted."""
    limit = {"metadata": {"name": "none"}, "spec": {"hard": {"count/configmaps": "0"}}}
    world.core.create_namespaced_resource_quota(world.namespace, limit)
    wait_until(
        lambda: world.core.read_namespaced_resource_quota("none", world.namespace).status.hard, "the quota holds"
    )

    with pytest.raises(KubernetesError, match=r"create a ConfigMap.*exceeded quota"):
        flows.doubles.submit_to_kubernetes({"numbers": [1]}, **where)
    assert not world.runs()


@contextmanager
def storage(world: World) -> Iterator[str]:
    """URL, for pods, of a web server on this machine that stores what is put there."""
    kept: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(201, b"")

        def do_GET(self) -> None:
            self._answer(200 if self.path in kept else 404, kept.get(self.path, b""))

        def _answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    (node, *_) = world.core.list_node().items
    (address, *_) = [item.address for item in node.status.addresses if item.type == "InternalIP"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((address, 9))
        here = way.getsockname()[0]
    with http.server.ThreadingHTTPServer((here, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{here}:{server.server_port}/results"
        finally:
            server.shutdown()
            thread.join()

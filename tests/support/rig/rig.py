"""The whole rig: a control plane, nodes on which nothing runs, and the upstream operators."""

from __future__ import annotations

import importlib.util
import itertools
import pathlib
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import yaml

from tests.support.rig import rights
from tests.support.rig.client import ApiError, Body, Client
from tests.support.rig.control_plane import ControlPlane
from tests.support.rig.kinds import CRD, KINDS, NAMESPACE, NODE, OWNERS, Kind
from tests.support.rig.ledger import Ledger, View
from tests.support.rig.nursery import Nursery
from tests.support.rig.process import Child, free_port
from tests.support.rig.proxy_loop import ProxyLoop
from tests.support.waiting import wait_until
from tests.support.world import ROOT
from tools.cluster import gotools
from tools.cluster.errors import ToolError

_STAGES = pathlib.Path(__file__).with_name("stages.yaml")
_NODES = 4
_CAPACITY = {"cpu": "1000", "memory": "4Ti", "pods": "10000"}
#: Seconds for one part of the start on a machine that is busy with other things.
_START_SECONDS = 120.0
#: Go programs that the rig runs.
PROGRAMS = ("etcd", "kubernetes", "kwok", "kuberay")


class Rig:
    """A running rig, as a context manager.

    Args:
        folder: for data and logs; by default a temporary one, which is deleted at the end.
        upstream: whether to run dask-kubernetes and KubeRay.
        is_fast: whether controllers send as many requests as they can; otherwise as many as by default.

    Attributes:
        client: a connection to the API server as administrator.
        ledger: what the API server has reported of all objects.
        processes: all processes but operators, by name.
        nursery: starts operators.
        start_seconds: how long the start took.
    """

    def __init__(self, folder: pathlib.Path | None = None, *, upstream: bool = True, is_fast: bool = True) -> None:
        self._is_temporary = folder is None
        self.folder = folder or pathlib.Path(tempfile.mkdtemp(prefix="flowcluster-rig-"))
        self._upstream = upstream
        self._control_plane = ControlPlane(self.folder, is_fast=is_fast)
        self.client, self.kubeconfig = self._control_plane.client, self._control_plane.kubeconfig
        self.processes = self._control_plane.processes
        self.ledger = Ledger(self.client, KINDS)
        operator = self._control_plane.client_of(rights.OPERATOR)
        self.proxies = ProxyLoop(self._control_plane.server, operator.context)
        self.nursery = Nursery()
        self._numbers = itertools.count(1)
        self._clients = [operator]
        self.start_seconds = 0.0

    def __enter__(self) -> Rig:
        began = time.monotonic()
        if sys.platform != "linux":
            raise ToolError("the rig needs Linux: its processes end with their parent by a feature of that kernel.")
        gotools.announce(PROGRAMS)
        for name in PROGRAMS:
            gotools.built(name)
        try:
            self.nursery.start()
            self._control_plane.start()
            self._install_crds()
            rights.grant(self.client)
            self._start_nodes()
            if self._upstream:
                self._start_upstream()
            self.ledger.start()
            self.proxies.start()
            wait_until(self._is_complete, "the nodes are ready", _START_SECONDS, every=0.1)
        except BaseException:
            self._stop()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def client_of(self, user: str) -> Client:
        """Return a connection as a user, whose only rights are those of bindings. It is closed with the rig."""
        self._clients.append(self._control_plane.client_of(user))
        return self._clients[-1]

    def check(self) -> None:
        """Raise AssertionError when a process of the rig has ended."""
        self._control_plane.check()

    def create_namespace(self, name: str) -> View:
        """Create a namespace, named `name` and a number; return what becomes of the objects in it."""
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-")
        namespace = f"{stem}-{next(self._numbers)}"
        view = self.ledger.of(namespace)
        self.client.create(NAMESPACE.path(), {"metadata": {"name": namespace}})
        wait_until(lambda: view.has_given("ServiceAccount"), f"namespace {namespace} has its ServiceAccount", 60)
        return view

    def delete_namespace(self, namespace: str) -> None:
        """Delete a namespace; its objects follow."""
        self.client.delete(NAMESPACE.path(name=namespace))

    def empty_namespace(self, namespace: str) -> None:
        """Delete the runs and shared clusters of a namespace; what belongs to them follows.

        The namespace stays until the rig ends: its deletion takes 70 requests, a sixth of those of a trial.
        """
        for kind in OWNERS:
            for owner in (self.client.get(kind.path(namespace)) or {}).get("items", []):
                self.client.delete(kind.path(namespace, owner["metadata"]["name"]))

    def _stop(self) -> None:
        self.ledger.stop()
        self.nursery.stop()
        self.proxies.stop()
        self._control_plane.stop()
        self.ledger.join()
        for client in (self.client, *self._clients):
            client.close()

    def _install_crds(self) -> None:
        spec = importlib.util.find_spec("dask_kubernetes")
        assert spec is not None
        assert spec.origin is not None
        dask = pathlib.Path(spec.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
        ray = gotools.built("kuberay") / "config/crd/bases"
        own = ROOT / "manifests" / "crds"
        paths = [path for folder in (own, dask, ray) for path in sorted(folder.glob("*.yaml"))]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._install_crd, paths))
        served = [kind for kind in KINDS if "." in kind.group.partition("/")[0] and "k8s.io" not in kind.group]
        wait_until(lambda: all(map(self._is_served, served)), "all kinds are served", _START_SECONDS, every=0.1)

    def _install_crd(self, path: pathlib.Path) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        for document in yaml.load_all(path.read_text(), Loader=loader):
            if document:
                self.client.create(CRD.path(), document)

    def _is_served(self, kind: Kind) -> bool:
        try:
            return self.client.get(kind.path()) is not None
        except ApiError as error:
            if error.status == 429:  # "storage is (re)initializing"
                return False
            raise

    def _start_nodes(self) -> None:
        command: list[str | pathlib.Path] = [
            gotools.program("kwok"),
            f"--kubeconfig={self.kubeconfig}",
            f"--config={_STAGES}",
            "--manage-all-nodes=true",
            "--cidr=10.128.0.0/9",
            "--node-ip=10.0.0.1",
        ]
        self._start("kwok", command)
        for number in range(_NODES):
            name = f"node-{number}"
            status = {"allocatable": _CAPACITY, "capacity": _CAPACITY}
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
            self.client.create(NODE.path(), {"metadata": {"name": name, "labels": labels}, "status": status})

    def _start_upstream(self) -> None:
        ports = [f"--metrics-addr=127.0.0.1:{free_port()}", f"--health-probe-bind-address=127.0.0.1:{free_port()}"]
        # As in our chart's values: workers get no init container.
        environment = {"ENABLE_INIT_CONTAINER_INJECTION": "false"}
        self._start("kuberay", [gotools.program("ray-operator"), "--enable-leader-election=false", *ports], environment)
        # What it asks of a scheduler is refused without a wait. Its Events are as many as all other writes of a trial.
        options = {
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s",
            "DASK_KUBERNETES__CONTROLLER__EVENTS__ENABLED": "false",
        }
        self._start("dask-kubernetes", [sys.executable, "-m", "tests.support.rig.dask_operator"], options)

    def _start(self, name: str, command: list[str | pathlib.Path], environment: dict[str, str] | None = None) -> None:
        own = {"KUBECONFIG": str(self.kubeconfig), **(environment or {})}
        self.processes[name] = Child(name, command, self.folder / "log" / f"{name}.log", own)

    def _is_complete(self) -> bool:
        self.check()
        return self.ledger.is_synced() and all(map(_is_ready, (self.client.get(NODE.path()) or {}).get("items", [])))


def _is_ready(node: Body) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

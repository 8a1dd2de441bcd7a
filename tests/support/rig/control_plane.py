"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes on the loopback interface."""

from __future__ import annotations

import pathlib

from tests.support.rig.client import Client
from tests.support.rig.process import Child, free_port
from tests.support.waiting import wait_until
from tools.cluster import gotools
from tools.cluster.onenode import files
from tools.cluster.onenode.pki import Authority

_HOST = "127.0.0.1"
#: Controllers that runs need. The others would only use CPU.
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
)
_FAST = ("--kube-api-qps=500", "--kube-api-burst=1000")
_START_SECONDS = 120.0


class ControlPlane:
    """A Kubernetes control plane.

    Args:
        folder: for its data, certificates and logs.
        is_fast: whether controllers send as many requests as they can. By default, those of Kubernetes send 20 a second
            each, the garbage collector too.

    Attributes:
        client: a connection as administrator.
        kubeconfig: the administrator's kubeconfig.
        processes: by name.
    """

    def __init__(self, folder: pathlib.Path, *, is_fast: bool = True) -> None:
        self._folder, self._rates = folder, _FAST if is_fast else ()
        self._authority = Authority(folder / "pki")
        self._port, self._etcd = free_port(), f"http://{_HOST}:{free_port()}"
        self.server = f"https://{_HOST}:{self._port}"
        self._admin = self._authority.issue("admin", "admin", "system:masters")
        self.client = Client(self.server, self._authority.pair, self._admin)
        content = files.kubeconfig(self.server, "rig", self._authority.pair, self._admin)
        self.kubeconfig = files.write(folder / "kubeconfig", content, 0o600)
        self.processes: dict[str, Child] = {}

    def start(self) -> None:
        """Start all of it and wait until the API server answers."""
        self._start("etcd", self._etcd_command())
        self._start("kube-apiserver", self._server_command())
        wait_until(self._is_ready, "the API server is ready", _START_SECONDS, every=0.1)
        kubernetes = gotools.built("kubernetes")
        common = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0", *self._rates]
        self._start(
            "kube-controller-manager",
            [
                kubernetes / "kube-controller-manager",
                *common,
                f"--service-account-private-key-file={self._tokens.key}",
                f"--root-ca-file={self._authority.pair.certificate}",
                f"--controllers={','.join(_CONTROLLERS)}",
                "--concurrent-namespace-syncs=20",
                "--concurrent-gc-syncs=20",  # the default
            ],
        )
        self._start("kube-scheduler", [kubernetes / "kube-scheduler", *common])

    def client_of(self, user: str) -> Client:
        """Return a connection as a user, whose only rights are those of bindings."""
        pair = self._authority.issue(user.replace(":", "-"), user)
        return Client(self.server, self._authority.pair, pair)

    def check(self) -> None:
        """Raise AssertionError when a process has ended."""
        for process in self.processes.values():
            process.check()

    def stop(self) -> None:
        """End all of it."""
        for process in reversed(self.processes.values()):
            process.kill()

    def _start(self, name: str, command: list[str | pathlib.Path]) -> None:
        self.processes[name] = Child(name, command, self._folder / "log" / f"{name}.log")

    def _is_ready(self) -> bool:
        self.check()
        return self.client.is_ready()

    def _etcd_command(self) -> list[str | pathlib.Path]:
        peer = f"http://{_HOST}:{free_port()}"
        return [
            gotools.program("etcd"),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
            "--unsafe-no-fsync",  # the data is deleted with the rig
        ]

    def _server_command(self) -> list[str | pathlib.Path]:
        self._tokens = tokens = self._authority.signing_key("service-accounts")
        server = self._authority.issue("apiserver", "kube-apiserver", hosts=[_HOST, "localhost"])
        return [
            gotools.built("kubernetes") / "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            f"--bind-address={_HOST}",
            f"--advertise-address={_HOST}",
            "--endpoint-reconciler-type=none",  # no pod reaches the loopback interface
            f"--secure-port={self._port}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={self._authority.pair.certificate}",
            f"--service-account-key-file={tokens.certificate}",
            f"--service-account-signing-key-file={tokens.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--authorization-mode=RBAC",
            # The controller that removes the taints of new nodes does not run here.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=1000",
        ]

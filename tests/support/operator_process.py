"""The operator as a process of the test, behind the counting proxy, so that it can be killed at any write."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType

import yaml

from tests.support.waiting import wait_until
from tests.support.world import ROOT

#: Seconds for the operator to end by itself.
_STOP_SECONDS = 10


def free_port() -> int:
    """Return a TCP port of the loopback interface at which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OperatorProcess:
    """Runs the operator for one namespace.

    Args:
        folder: for its files.
        kubeconfig: the cluster.
        namespace: the namespace to serve.
        image: of drivers, schedulers and workers.
        die_at: the write at which the first operator is killed, 0 for never.
        settings: further environment variables of the operator.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        kubeconfig: pathlib.Path,
        namespace: str,
        image: str,
        die_at: int = 0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._real = folder, kubeconfig
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("sdk", "operator", "")),
            "FLOWCLUSTER_NAMESPACE": namespace,
            "FLOWCLUSTER_DEFAULT_IMAGE": image,
            "FLOWCLUSTER_RESYNC_SECONDS": "5",
            **(settings or {}),
        }
        self._die_at = die_at
        self._proxy: subprocess.Popen[bytes] | None = None
        self._operator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OperatorProcess:
        port = free_port()
        pidfile = self._folder / "operator.pid"
        with (self._folder / "requests.log").open("wb") as log:
            self._proxy = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.support.counting_proxy",
                    str(self._real), str(port), str(pidfile), str(self._die_at),
                ],
                stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=self._environment,
            )  # fmt: skip
        kubeconfig = self._folder / "kubeconfig"
        context = {"name": "p", "context": {"cluster": "p", "user": "p"}}
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "p", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "p", "user": {}}],
                    "contexts": [context],
                    "current-context": "p",
                }
            )
        )
        self._environment["KUBECONFIG"] = str(kubeconfig)
        wait_until(lambda: self._listens(port), "the proxy listens")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._proxy is not None:
            self._proxy.kill()
            self._proxy.wait()

    def start(self) -> None:
        """Start an operator, and write its pid for the proxy."""
        with (self._folder / "operator.log").open("ab") as log:
            self._operator = subprocess.Popen(
                [sys.executable, "-m", "flowcluster_operator"],
                stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=self._environment,
            )  # fmt: skip
        (self._folder / "operator.pid").write_text(str(self._operator.pid))

    def stop(self) -> None:
        """End the operator as Kubernetes does: with SIGTERM, and SIGKILL after a while."""
        if self._operator is not None:
            self._operator.terminate()
            try:
                self._operator.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the operator with SIGKILL."""
        if self._operator is not None:
            self._operator.kill()
            self._operator.wait()

    def was_killed(self) -> bool:
        """Return whether SIGKILL ended the operator. Fail when it ended otherwise."""
        code = self._operator.poll() if self._operator is not None else None
        assert code in (None, -signal.SIGKILL), self.log()
        return code is not None

    def writes(self) -> list[str]:
        """Return the writes so far: method, path, HTTP status."""
        return [line for line in self.requests() if line.split(" ", 1)[0] in {"POST", "PUT", "PATCH", "DELETE"}]

    def requests(self) -> list[str]:
        """Return all requests so far, in the same form. A watch counts from its start."""
        return (self._folder / "requests.log").read_text().splitlines()

    def log(self) -> str:
        """Return the output of the operators."""
        return (self._folder / "operator.log").read_text()

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

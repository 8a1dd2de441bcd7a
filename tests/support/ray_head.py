"""A Ray head in processes of its own, or one that exists already."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import unmeasured
from tests.support.waiting import wait_until


@dataclasses.dataclass(frozen=True)
class RayThere:
    """A head that this process did not start, such as one of KubeRay.

    Attributes:
        address: for programs on a node of its cluster.
    """

    address: str

    @property
    def client_address(self) -> str:
        """The address for Ray clients."""
        return f"ray://{self.address.rpartition(':')[0]}:10001"


class RayHead:
    """A head that also is the only node.

    Attributes:
        address: for programs on this machine.
        client_address: for Ray clients.
        process: the session leader of all its processes.
    """

    def __init__(self, cpus: int, directory: str, modules: Path | None, settings: Mapping[str, str]) -> None:
        port, client_port = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.client_address = f"ray://127.0.0.1:{client_port}"
        self._log = Path(directory, "log")
        # A head starts programs of its environment through a shell, which splits a path that contains a space.
        environment_link = Path(directory, "environment")
        environment_link.symlink_to(sys.prefix)
        ray = [str(environment_link / "bin" / "python"), "-m", "ray.scripts.scripts"]
        command = [*ray, "start", "--head", "--block", f"--port={port}"]
        command += [f"--ray-client-server-port={client_port}", f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        command += ['--resources={"bench": 2, "desk": 1}']
        command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={directory}"]
        # A Ray client's workers find modules where the head does, and not where the client does.
        places = [str(modules or ""), *(part for part in sys.path if not part.startswith(sys.prefix))]
        path = os.pathsep.join(part for part in places if part)
        # gRPC's fork handlers crash some servers for clients; for each one, its client waits for half a minute.
        defaults = {"GRPC_ENABLE_FORK_SUPPORT": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": path}
        environment = {**unmeasured.environment(), **defaults, **settings}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    @classmethod
    @contextmanager
    def start(
        cls, cpus: int, modules: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> Iterator[RayHead]:
        """Run a head in the block, and wait until it answers.

        Its Python imports from the folder `modules` first; `settings` are Ray's, by environment variables.
        """
        # Short, as it begins the names of sockets; ASCII, as Ray takes no other. TMPDIR can be neither.
        directory = tempfile.mkdtemp(prefix="r", dir="/tmp")
        head = cls(cpus, directory, modules, settings or {})
        try:
            wait_until(head._is_ready, "the Ray head runs")
            yield head
        finally:
            head.kill()
            shutil.rmtree(directory, ignore_errors=True)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return "Ray runtime started" in self._log.read_text()

    def kill(self) -> None:
        """Kill all its processes."""
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def processes(self) -> list[int]:
        """Return the pids of its processes."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                session = int((directory / "stat").read_text(errors="replace").rpartition(")")[2].split()[3])
            except OSError:
                continue  # it ended while we looked
            if session == self.process.pid:
                found.append(int(directory.name))
        return found


def free_ports(count: int) -> list[int]:
    """Return ports at which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()

"""A Dask cluster of real processes with TLS, as in Kubernetes, whose workers have given names."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import distributed

from flowcluster_operator.desired.credentials import DASK_TLS_ONLY, FOLDER
from flowcluster_operator.new_credentials import new_credentials
from tests.support import unmeasured
from tests.support.ray_head import free_ports
from tests.support.waiting import wait_until


class DaskProcesses:
    """A scheduler, and workers that are added and killed one at a time.

    Attributes:
        address: of the scheduler, also of one that is started again.
        environment: for programs that use the cluster.
    """

    def __init__(self, folder: Path) -> None:
        for name, data in new_credentials("test").items():
            (folder / name).write_bytes(base64.b64decode(data))
        variables = {name: value.replace(FOLDER, str(folder)) for name, value in DASK_TLS_ONLY.items()}
        path = os.pathsep.join(filter(None, sys.path))  # the scheduler and the workers import functions of the tests
        self.environment = {**unmeasured.environment(), "PYTHONPATH": path, **variables}
        self._settings = {
            name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-"): value
            for name, value in variables.items()
        }
        self._folder = folder
        (self._port,) = free_ports(1)
        self.address = f"tls://127.0.0.1:{self._port}"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator[DaskProcesses]:
        """Run a scheduler without workers in the block. In the block, Dask uses the credentials in this process too."""
        made = cls(folder)
        with dask.config.set(made._settings):
            try:
                made.start_scheduler()
                yield made
            finally:
                for process in filter(None, [made._scheduler, *made._workers.values()]):
                    with suppress(ProcessLookupError):
                        process.kill()
                    process.wait()

    @property
    def scheduler_pid(self) -> int:
        """Return the pid of the scheduler."""
        assert self._scheduler is not None
        return self._scheduler.pid

    def start_scheduler(self) -> None:
        """Start a scheduler at the address of the last one."""
        port = ["--port", str(self._port), "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        self._scheduler = self._start("scheduler", "--protocol", "tls", *port)
        wait_until(self._answers, "the scheduler answers")

    def kill_scheduler(self) -> None:
        """Kill the scheduler."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def close_scheduler(self) -> None:
        """Let the scheduler close, as one whose pod is deleted."""
        assert self._scheduler is not None
        self._scheduler.terminate()
        self._scheduler.wait()

    def add_worker(self, name: str, threads: int = 1, resources: Mapping[str, float] | None = None) -> None:
        """Start a worker of this name, as an operator does."""
        options = ["--name", name, "--nthreads", str(threads), "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        if resources:
            options += ["--resources", ",".join(f"{what}={amount:g}" for what, amount in resources.items())]
        options += ["--local-directory", str(self._folder)]
        self._workers[name] = self._start("worker", self.address, "--protocol", "tls", *options)

    def remove_worker(self, name: str) -> None:
        """Kill a worker."""
        process = self._workers.pop(name)
        process.kill()
        process.wait()

    def has_ended(self, name: str) -> bool:
        """Return whether the process of a worker has ended."""
        return self._workers[name].poll() is not None

    def client(self, name: str | None = None, timeout: float = 60) -> Any:
        """Return a client, with or without a name, that is not the default one of this process."""
        return distributed.Client(self.address, name=name, set_as_default=False, timeout=timeout)

    def _start(self, part: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{part}.log"
        with log.open("ab") as output:
            command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *arguments]
            return subprocess.Popen(command, env=self.environment, cwd=self._folder, stdout=output, stderr=output)

    def _answers(self) -> bool:
        assert self._scheduler is not None
        assert self._scheduler.poll() is None, (self._folder / "scheduler.log").read_text()
        try:
            self.client().close()
        except OSError:
            return False
        return True

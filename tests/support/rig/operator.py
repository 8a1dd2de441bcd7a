"""The operator as a process of a test, behind a proxy that can break its connection or kill it at any write."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable
from types import TracebackType

import yaml

from tests.support.rig.faults import UNDISTURBED, Fault, FaultKind
from tests.support.rig.nursery import Forked
from tests.support.rig.process import Child
from tests.support.rig.proxies import FaultProxy
from tests.support.rig.rig import Rig
from tests.support.rig.writes import Write
from tests.support.waiting import wait_until
from tests.support.world import ROOT

#: Settings of the operators, unless a test gives others.
SETTINGS = {"FLOWCLUSTER_RESYNC_SECONDS": "20", "FLOWCLUSTER_DEFAULT_IMAGE": "runtime:test"}
_RESTART_SECONDS = 0.2


class RigOperator:
    """An operator that serves one namespace, as a context manager. An operator that ends is started again.

    Args:
        rig: the rig.
        namespace: the namespace to serve; empty means all.
        settings: environment variables over `SETTINGS`.
        is_fresh: whether each operator is a new Python, as in production. Else the nursery forks it, which is faster.
        tree: the checkout whose operator is run; None for this one.
        name: of the folder with its log, where several operators serve one namespace.

    Attributes:
        proxy: its connection to the API server.
        starts: how often it was started.
        unexpected: exit codes of operators that ended although no fault ended them.
    """

    def __init__(
        self,
        rig: Rig,
        namespace: str,
        settings: dict[str, str] | None = None,
        *,
        is_fresh: bool = False,
        tree: pathlib.Path | None = None,
        name: str = "",
    ) -> None:
        self._rig, self._is_fresh = rig, is_fresh
        self.proxy: FaultProxy = rig.proxies.open()
        self.proxy.kill = self._kill
        self._folder = folder = rig.folder / "operators" / (name or namespace or "all")
        # The client of Kubernetes writes keys into temporary files, which an operator that is killed leaves behind.
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._log = folder / "operator.log"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(self.proxy.url)))
        self._environment = {
            "PYTHONPATH": os.pathsep.join(str((tree or ROOT) / name) for name in ("sdk", "operator")),
            "KUBECONFIG": str(kubeconfig),
            "TMPDIR": str(self._temporary),
            "FLOWCLUSTER_NAMESPACE": namespace,
            **SETTINGS,
            **(settings or {}),
        }
        self._away_seconds = 0.0
        self._ending = threading.Event()
        self._was_killed = False
        self._printed = 0
        self._process: Child | Forked | None = None
        self.starts = 0
        self.unexpected: list[int] = []
        self._supervisor = threading.Thread(target=self._supervise, daemon=True, name=f"operator of {namespace}")

    def __enter__(self) -> RigOperator:
        self._supervisor.start()
        wait_until(lambda: self.proxy.requests > 0, "the operator makes a request", 60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._kill()
        self._supervisor.join(60)
        self.proxy.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def arm(self, fault: Fault, subject: str, at: Callable[[Write], bool] | None = None) -> None:
        """Inject a fault at one of the writes for the FlowRun named `subject`, as `FaultProxy.arm` describes."""
        self._away_seconds = fault.seconds if fault.kind is FaultKind.AWAY else _RESTART_SECONDS
        if fault.kind is FaultKind.STALE_LISTS:
            self._away_seconds = 3.0  # so that what was deleted is gone
        self.proxy.arm(fault, subject, at)

    def disarm(self) -> None:
        """Stop numbering writes."""
        self.proxy.arm(UNDISTURBED, "")

    def reset(self) -> None:
        """Forget what was written and printed so far, and how operators ended, before another trial."""
        self.proxy.reset()
        self._away_seconds, self.unexpected = 0.0, []
        self._printed = self._log.stat().st_size if self._log.exists() else 0

    def is_quiet(self, seconds: float) -> bool:
        """Return whether an operator runs, has written nothing for some time, and the fault is over."""
        return not self.unrest(seconds)

    def unrest(self, seconds: float) -> str:
        """Return why the operator is not quiet; empty when it is."""
        return self.proxy.unrest(seconds) if self._process is not None else "no operator runs"

    def log(self) -> str:
        """Return all that the operators have printed since `reset`."""
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[self._printed :].decode(errors="replace")

    def keep(self, name: str, lines: list[str]) -> None:
        """Write lines beside the operators' log, for the analysis of a failure."""
        (self._folder / f"{name}.log").write_text("".join(f"{line}\n" for line in lines))

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the operator that runs."""
        return self._process.cpu_seconds() if self._process is not None else 0.0

    def memory(self) -> int:
        """Return the resident memory of the operator that runs, in bytes."""
        return self._process.memory() if self._process is not None else 0

    def _kill(self) -> None:
        """End the operator with SIGKILL. Called from the proxies' thread: it does not wait."""
        process = self._process
        if process is not None:
            self._was_killed = True
            process.signal_kill()

    def _supervise(self) -> None:
        """Start the operator each time it ends. The processes are bound to this thread, which lives as long as they."""
        while not self._ending.is_set():
            self._was_killed = False
            self.proxy.operator_started()
            self._process = process = self._start()
            self.starts += 1
            code = process.wait()
            self._process = None
            if not self._was_killed:
                self.unexpected.append(code)
            self._ending.wait(self._away_seconds or _RESTART_SECONDS)

    def _start(self) -> Child | Forked:
        if self._is_fresh:
            command = [sys.executable, "-m", "flowcluster_operator"]
            return Child("operator", command, self._log, self._environment)
        return self._rig.nursery.fork(self._environment, self._log)


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": {"server": server}}],
        "users": [{"name": "rig", "user": {}}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        "current-context": "rig",
    }

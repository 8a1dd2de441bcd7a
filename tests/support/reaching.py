"""Connections to ports of pods, tried from inside pods."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowcluster_operator.desired.pods import CONTAINER_SECURITY
from tests.support.waiting import wait_until
from tests.support.world import ROOT, World
from tools.install import Installed

Target = tuple[str, int]
_PROGRAM = (ROOT / "tests" / "support" / "programs" / "connecting.py").read_text()
#: The state of a socket that accepts connections, in a line of /proc/net/tcp.
_LISTENS = "0A"
#: Ends of the loopback interface's addresses in that file: 127.0.0.1, also as an IPv6 address, and ::1.
_LOOPBACK = ("0100007F", "000000000000000001000000")
#: A port on which no process of a run listens: a pod that receives a packet answers that it is closed.
UNUSED_PORT = 9


def start_stranger(world: World, image: str, name: str = "stranger") -> None:
    """Start a pod that does not belong to a run and waits."""
    body = {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["python", "-m", "http.server", "8000"],
                    "securityContext": CONTAINER_SECURITY,
                }
            ],
        },
    }
    world.core.create_namespaced_pod(world.namespace, body)


def wait_for_stranger(world: World, name: str = "stranger") -> Any:
    """Wait until such a pod runs, and return it."""

    def running() -> Any:
        pod = world.core.read_namespaced_pod(name, world.namespace)
        return pod.status.phase == "Running" and pod.status.pod_ip and pod

    return wait_until(running, f"pod {name} runs", 60)


class Reach:
    """Runs commands in the pods of a namespace."""

    def __init__(self, installed: Installed, namespace: str) -> None:
        self._kubectl, self._kubeconfig, self._namespace = installed.kubectl, installed.kubeconfig, namespace

    def run(self, pod: str, *command: str) -> str:
        """Run a command in the first container of a pod, and return its output."""
        line = [*self._command("exec", pod), "--", *command]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def forwarded(self, pod: str, port: int) -> Iterator[int]:
        """Forward a port of this machine to a port of a pod, through the API server, in the block."""
        line = self._command("port-forward", f"pod/{pod}", f":{port}")
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                first = process.stdout.readline()  # Forwarding from 127.0.0.1:PORT -> PORT
                yield int(first.partition("127.0.0.1:")[2].partition(" ")[0])
            finally:
                process.terminate()

    def _command(self, *arguments: str) -> list[str | Path]:
        return [self._kubectl, "--kubeconfig", self._kubeconfig, "--namespace", self._namespace, *arguments]

    def ports(self, pod: str) -> set[int]:
        """Return the TCP ports on which processes of a pod accept connections from outside of it."""
        lines = self.run(pod, "cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
        sockets = [(fields[1].split(":"), fields[3]) for line in lines if len(fields := line.split()) > 3]
        return {
            int(address[1], 16)
            for address, state in sockets
            if state == _LISTENS and not address[0].endswith(_LOOPBACK)
        }

    def attempts(self, pod: str, targets: Iterable[Target]) -> dict[Target, str]:
        """Connect from a pod to each target, and return ``open``, ``closed`` or ``no answer`` for each."""
        wanted = list(targets)
        answers = json.loads(self.run(pod, "python", "-c", _PROGRAM, json.dumps(wanted)))
        return dict(zip(wanted, answers, strict=True))

    def outcomes(self, pod: str, targets: Iterable[Target]) -> Counter[str]:
        """Count the outcomes of `attempts`."""
        return Counter(self.attempts(pod, targets).values())

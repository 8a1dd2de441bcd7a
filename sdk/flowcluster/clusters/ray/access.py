"""Access of this process to a Ray cluster: by the run's token, and in a pod as a node of the cluster.

A Ray client (``ray://``) depends on a process of its own at the head, and loses its state when the connection breaks. A
node does not. So a pod joins the cluster as a node without resources for tasks.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from flowcluster._util import platforms
from flowcluster.clusters.address import wait_for_ray
from flowcluster.errors import ClusterUnreachable
from flowcluster_api import driver, tags

logger = logging.getLogger("flowcluster.cluster")

_MODE, _TOKEN, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
#: The text that `ray start` prints when the node has joined the cluster.
_STARTED = "Ray runtime started"
#: Seconds between two attempts to join, and for a node to leave.
_RETRY_SECONDS, _LEAVE_SECONDS = 1.0, 10.0
#: Number of lines of a failed attempt that are shown.
_TAIL = 12


def token_here() -> str | None:
    """Return the token of the run to which this pod belongs; None outside such a pod."""
    folder = os.environ.get(driver.ENV_KEYS)
    path = Path(folder) / driver.TOKEN_FILE if folder else None
    return path.read_text() if path is not None and path.exists() else None


@contextmanager
def inside(address: str, timeout: float, *, has_token: bool = True) -> Iterator[None]:
    """Join this pod to the cluster in the block.

    Args:
        address: of the head's GCS.
        timeout: seconds until the pod must have joined.
        has_token: whether the cluster has the token of this pod. A cluster without a token cannot connect to a node
            that requires one, and would regard the owner of an object as dead.
    """
    token = token_here() if has_token else None
    with authenticated(token) if token is not None else nullcontext(), joined(address, timeout):
        yield


@contextmanager
def authenticated(token: str) -> Iterator[None]:
    """Let Ray in this process, and in processes that it starts, send the token in the block."""
    before = {name: os.environ.pop(name, None) for name in (_MODE, _TOKEN, _PATH)}
    os.environ.update({_MODE: "token", _TOKEN: token})
    _reload_config()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _reload_config()


@contextmanager
def tagged(uid: str) -> Iterator[None]:
    """Put the UID of a FlowRun into the metadata of Ray jobs that this process starts in the block."""
    from flowcluster.clusters.ray.client import JOB_CONFIG, clients_tagged

    before = os.environ.get(JOB_CONFIG)
    config: dict[str, Any] = json.loads(before or "{}")
    config["metadata"] = {**(config.get("metadata") or {}), tags.RAY_METADATA: uid}
    os.environ[JOB_CONFIG] = json.dumps(config)
    try:
        with clients_tagged():
            yield
    finally:
        os.environ.pop(JOB_CONFIG, None)
        if before is not None:
            os.environ[JOB_CONFIG] = before


def disconnect(address: str) -> None:
    """End this process's connection to the Ray at `address`, if it has one.

    Otherwise Ray observes that its cluster ends, and logs many errors, or ends this process.
    """
    if "ray" not in sys.modules:
        return
    import ray
    from ray.util.client import ray as clients

    if clients.is_connected():
        here = f"ray://{clients.get_context().client_worker._conn_str}"
    elif ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
    else:
        return
    if here == address:
        ray.shutdown()


def _reload_config() -> None:
    """Let Ray read its configuration from the environment again. Without this call, it reads it only once."""
    if raylet := sys.modules.get("ray._raylet"):
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def joined(address: str, timeout: float) -> Iterator[None]:
    """Make this machine a node of a cluster in the block, without CPUs for tasks.

    Args:
        address: of the head's GCS.
        timeout: seconds until the node must have joined.

    Raises:
        ClusterUnreachable: the node could not join in time; the message has the output of `ray start`.
    """
    end = time.monotonic() + timeout
    wait_for_ray(address, timeout)
    while True:
        node = _Node(address)
        if node.has_started(max(end - time.monotonic(), 1.0)):
            break
        node.leave()
        if time.monotonic() + _RETRY_SECONDS > end or node.has_other_version():
            raise ClusterUnreachable(f"This pod could not join the Ray cluster at {address}:\n{node.output()}")
        time.sleep(_RETRY_SECONDS)
    try:
        yield
    finally:
        node.leave()


class _Node:
    """The processes of a Ray node, which end with this one."""

    def __init__(self, address: str) -> None:
        command = [
            sys.executable, "-m", f"{__package__}.node", address, "--num-cpus=0", "--num-gpus=0",
            "--disable-usage-stats", "--block",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **platforms.beyond_ctrl_c(),
        )  # fmt: skip
        self._lines: list[str] = []
        self._outcome: SimpleQueue[bool] = SimpleQueue()
        Thread(target=self._listen, name="flowcluster-ray-node", daemon=True).start()

    def has_started(self, seconds: float) -> bool:
        """Return whether the node joins the cluster within that time."""
        try:
            return self._outcome.get(timeout=seconds)
        except Empty:
            return False

    def has_other_version(self) -> bool:
        """Return whether the head refused the node because of its versions. Another attempt would fail, too."""
        return any("ersion mismatch" in line for line in self._lines)

    def output(self) -> str:
        """Return the last lines that the node printed."""
        return "\n".join(self._lines[-_TAIL:])

    def leave(self) -> None:
        """Remove the node from the cluster."""
        self._process.terminate()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, suppress(ValueError):
            for line in lines:
                self._lines.append(line.rstrip())
                if _STARTED in line:
                    self._outcome.put(True)
        self._outcome.put(False)

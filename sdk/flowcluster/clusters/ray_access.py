"""How this process is let into a Ray cluster of ours: by the run's token, and in a pod as a node of the cluster.

A Ray client (``ray://``) depends on a process of its own at the head, and loses everything when its connection breaks.
A node does not: so that is what a pod becomes, one that offers nothing to tasks.
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

from flowcluster import platforms
from flowcluster.clusters.address import wait_for_ray
from flowcluster.errors import ClusterUnreachable
from flowcluster_api import driver, tags

logger = logging.getLogger("flowcluster.cluster")

_MODE, _TOKEN, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
#: What `ray start` prints when the node is a part of the cluster.
_STARTED = "Ray runtime started"
#: Seconds between two attempts to join, and for a node to leave.
_RETRY_SECONDS, _LEAVE_SECONDS = 1.0, 10.0
#: Lines of an attempt that are shown when it failed.
_TAIL = 12


def token_here() -> str | None:
    """The token of the run whose pod this is; None elsewhere."""
    folder = os.environ.get(driver.ENV_KEYS)
    path = Path(folder) / driver.TOKEN_FILE if folder else None
    return path.read_text() if path is not None and path.exists() else None


@contextmanager
def inside(address: str, timeout: float, *, has_token: bool = True) -> Iterator[None]:
    """In the block, this pod is `joined` to the cluster.

    Args:
        address: of the head's GCS.
        timeout: seconds until it has joined.
        has_token: whether the cluster has the token of this pod. A cluster without one cannot connect to a node that
            requires it: the owner of an object would count as dead.
    """
    token = token_here() if has_token else None
    with authenticated(token) if token is not None else nullcontext(), joined(address, timeout):
        yield


@contextmanager
def authenticated(token: str) -> Iterator[None]:
    """In the block, Ray in this process and in those that it starts shows the token."""
    before = {name: os.environ.pop(name, None) for name in (_MODE, _TOKEN, _PATH)}
    os.environ.update({_MODE: "token", _TOKEN: token})
    _forget()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _forget()


@contextmanager
def tagged(uid: str) -> Iterator[None]:
    """In the block, a Ray job that this process begins has the UID of its FlowRun in its metadata."""
    from flowcluster.clusters.ray_client import JOB_CONFIG, clients_tagged

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

    Left to itself it would notice that its cluster goes, and complain of it at length, or end this process.
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


def _forget() -> None:
    """Have Ray look at the environment again: it does so once, and remembers."""
    if raylet := sys.modules.get("ray._raylet"):
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def joined(address: str, timeout: float) -> Iterator[None]:
    """In the block, this machine is a node of the cluster whose head's GCS is at `address`, without CPUs for tasks.

    Raises `ClusterUnreachable` with what `ray start` says, if that does not succeed within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    wait_for_ray(address, timeout)
    while True:
        node = _Node(address)
        if node.has_started(max(end - time.monotonic(), 1.0)):
            break
        node.leave()
        if time.monotonic() + _RETRY_SECONDS > end or node.is_hopeless():
            raise ClusterUnreachable(f"This pod could not join the Ray cluster at {address}:\n{node.said()}")
        time.sleep(_RETRY_SECONDS)
    try:
        yield
    finally:
        node.leave()


class _Node:
    """The processes of a Ray node, which end with this one."""

    def __init__(self, address: str) -> None:
        command = [
            sys.executable, "-m", f"{__package__}.ray_node", address, "--num-cpus=0", "--num-gpus=0",
            "--disable-usage-stats", "--block",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **platforms.beyond_ctrl_c(),
        )  # fmt: skip
        self._lines: list[str] = []
        self._news: SimpleQueue[bool] = SimpleQueue()
        Thread(target=self._listen, name="flowcluster-ray-node", daemon=True).start()

    def has_started(self, seconds: float) -> bool:
        """Whether it becomes a part of the cluster within that time."""
        try:
            return self._news.get(timeout=seconds)
        except Empty:
            return False

    def is_hopeless(self) -> bool:
        """Whether another attempt would end like this one."""
        return any("ersion mismatch" in line for line in self._lines)

    def said(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self._lines[-_TAIL:])

    def leave(self) -> None:
        """Take it out of the cluster."""
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
                    self._news.put(True)
        self._news.put(False)

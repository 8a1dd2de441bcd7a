"""Names, addresses and paths of one node, all derived from its name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import cache
from tools.cluster.errors import ToolError

DEFAULT_NAME = "flowcluster"
SERVICES = "10.96.0.0/16"
SERVICES_FIRST = "10.96.0.1"
PODS = "10.244.0.0/16"
DOMAIN = "cluster.local"
API_PORT = 6443
#: Bytes: the kernel allows 107, and containerd appends to the path it is given.
LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True)
class Layout:
    """The paths and names of one node.

    Services and pods have the same addresses in every node, because each has a network of its own. Only
    the link to the machine differs (`tools.cluster.onenode.network`).

    Raises:
        ToolError: the name cannot be part of a host name, or the cache's path is too long.
    """

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise ToolError(f"--name {self.name!r}: use at most 40 lower-case letters, digits and inner hyphens.")
        if len(bytes(self.socket)) > LONGEST_SOCKET_PATH:
            raise ToolError(
                f"the path of a socket would be too long: {self.socket}. Set {cache.ENV_CACHE} to a shorter folder."
            )

    @property
    def folder(self) -> Path:
        """Folder of all files of this node."""
        return cache.root() / "clusters" / self.name

    @property
    def home(self) -> Path:
        """Folder of the files that exist from ``up`` to ``down``."""
        return self.folder / "node"

    @property
    def images(self) -> Path:
        """Root of containerd. It is kept after ``down``, so that images do not have to be loaded again."""
        return self.folder / "containerd"

    @property
    def lock(self) -> Path:
        """Lock of the process that changes the node."""
        return cache.root() / "clusters" / f"{self.name}.lock"

    @property
    def socket(self) -> Path:
        """Socket of containerd."""
        return self.home / "run" / "containerd.sock"

    @property
    def record(self) -> Path:
        """Record of what was started: see `tools.cluster.onenode.node`."""
        return self.home / "node.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, with one JSON object a line for each answered request."""
        return self.home / "log" / "audit.log"

    @property
    def interface(self) -> str:
        """The machine's end of the link to the node: at most 15 characters, the kernel's limit."""
        return "fc" + hashlib.sha256(self.name.encode()).hexdigest()[:10]

    @property
    def cgroup(self) -> str:
        """The control group, below the root, that holds all of the node's pods."""
        return f"flowcluster-{self.name}" if self.name != DEFAULT_NAME else DEFAULT_NAME

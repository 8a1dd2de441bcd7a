"""The protocol of cluster providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Image:
    """An image that was built here.

    Attributes:
        ref: its full name, ``docker.io/…:tag``.
        archive: a file with it, or a folder in OCI layout, or None when it is in the Docker engine's store.
    """

    ref: str
    archive: Path | None = None


@dataclass(frozen=True)
class Process:
    """One process of a cluster: its name, its pid on this machine (None: it ended), and how it ended."""

    name: str
    pid: int | None
    ended: str = ""


@dataclass(frozen=True)
class Status:
    """The status of a cluster.

    Attributes:
        ready: it answers and its nodes accept pods.
        detail: one line for the user: what it is, or what is wrong with it.
    """

    provider: str
    name: str
    ready: bool
    detail: str
    kubeconfig: Path | None = None
    audit_log: Path | None = None
    processes: Sequence[Process] = field(default=())


class Provider(Protocol):
    """A cluster that can be started and removed. Every method can raise ToolError."""

    @property
    def kind(self) -> str:
        """``existing``, ``kind`` or ``one-node``."""

    def up(self) -> None:
        """Start the cluster, unless it runs."""

    def down(self, *, purge: bool = False) -> None:
        """Remove what `up` created, with ``purge`` also the images that are kept for the next start."""

    def status(self) -> Status:
        """Return the status, without a change."""

    def kubeconfig(self) -> Path:
        """Return a kubeconfig file whose current context is the cluster."""

    def images(self) -> set[str] | None:
        """Return the names of the images that pods can use without a registry, or None if they are not known."""

    def load(self, image: Image) -> str:
        """Load an image into the cluster's nodes, and return its name there."""

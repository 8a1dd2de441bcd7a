"""What every provider of a cluster can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Image:
    """An image that was built here.

    :ivar ref: its full name, ``docker.io/…:tag``.
    :ivar archive: a file with it, or a folder in OCI layout, or None when it lies in the Docker engine's store.
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
    """What is known of a cluster.

    :ivar ready: it answers and its nodes accept pods.
    :ivar detail: one line for a person: what it is, or what is wrong with it.
    """

    provider: str
    name: str
    ready: bool
    detail: str
    kubeconfig: Path | None = None
    audit_log: Path | None = None
    processes: Sequence[Process] = field(default=())


class Provider(Protocol):
    """A cluster that can be brought up and taken down. Every method may raise ToolError."""

    @property
    def kind(self) -> str:
        """``existing``, ``kind`` or ``one-node``."""

    def up(self) -> None:
        """See to it that the cluster runs; at once when it already does."""

    def down(self, *, purge: bool = False) -> None:
        """Take away what :meth:`up` made; with ``purge`` the images kept for the next time as well."""

    def status(self) -> Status:
        """Look without changing anything."""

    def kubeconfig(self) -> Path:
        """A kubeconfig file whose current context is the cluster."""

    def images(self) -> set[str] | None:
        """The names of the images that pods can use without a registry; None when that cannot be told."""

    def load(self, image: Image) -> str:
        """Give the cluster's nodes an image; the name by which they know it."""

"""kind, if a Docker engine answers, by its own commands."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tools.cluster import binaries, cache, gotools
from tools.cluster.docker import advised, ensure_engine, ensure_room
from tools.cluster.errors import ToolError
from tools.cluster.images import layout
from tools.cluster.images.docker import Docker
from tools.cluster.progress import say, step
from tools.cluster.providers.base import Image, Status
from tools.cluster.shell import run, succeeds

NODE_READY = "120s"


class Kind:
    """A kind cluster of one node.

    Args:
        name: the name that ``kind get clusters`` shows.
    """

    kind = "kind"

    def __init__(self, name: str) -> None:
        self._name = name

    def up(self) -> None:
        """Run ``kind create cluster``, unless a cluster of this name answers."""
        with cache.locked(cache.root() / "clusters" / f"{self._name}.lock", f"starting or stopping {self._name}"):
            if self._exists():
                if self.status().ready:
                    return say(f"{self._name} is up")
                say(f"{self._name} exists but does not answer: creating it again")
                self._delete()
            ensure_room()
            with step(f"creating the kind cluster {self._name}; kind pulls its node image where it is new"), advised():
                where: list[str | Path] = ["--name", self._name, "--kubeconfig", self._kubeconfig()]
                run([_program(), "create", "cluster", "--wait", NODE_READY, *where])
        return say(f"{self._name} is up. kubeconfig: {self._kubeconfig()}")

    def down(self, *, purge: bool = False) -> None:
        """Run ``kind delete cluster``, which deletes the images of its node too.

        Without ``purge``, the engine keeps the images that were built. It always keeps the node image and the network
        of kind, which other clusters can use.
        """
        with cache.locked(cache.root() / "clusters" / f"{self._name}.lock", f"starting or stopping {self._name}"):
            if self._exists():
                with step(f"deleting the kind cluster {self._name}"):
                    self._delete()
                say(f"removed the kind cluster {self._name} and the images in its node")
            else:
                say(f"{self._name} is not running")
            if purge:
                with step("deleting the images that were built"):
                    Docker().remove_built()
        kept = "" if purge else "the images that were built (`down --purge` removes them), "
        say(f"Docker keeps {kept}its build cache, and the node image and the network of kind")

    def status(self) -> Status:
        """Query the health of the API server."""
        if not self._exists():
            return Status(self.kind, self._name, False, "not running: `up` creates it")
        try:
            path = self._write_kubeconfig()
        except ToolError:  # its container has stopped, or kind has not started Kubernetes in it
            return Status(self.kind, self._name, False, "its node does not run: `up` creates it again")
        if not succeeds([binaries.kubectl(), "--kubeconfig", path, "--request-timeout=10s", "get", "--raw", "/readyz"]):
            return Status(self.kind, self._name, False, "its API server does not answer: `up` creates it again", path)
        return Status(self.kind, self._name, True, f"kind cluster {self._name} answers", path)

    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig, as kind exports it."""
        if not self._exists():
            raise ToolError(f"{self._name} is not running: `python -m tools.cluster up` creates it.")
        return self._write_kubeconfig()

    def images(self) -> set[str]:
        """Return the names of the images of the node's containerd."""
        node = f"{self._name}-control-plane"
        listed = run(["docker", "exec", node, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet"])
        return set(listed.split())

    def load(self, image: Image) -> str:
        """Run ``kind load``, from the engine's store or from an archive."""
        if image.archive is None:
            self._load("docker-image", image.ref)
        elif image.archive.is_file():
            self._load("image-archive", image.archive)
        else:
            with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
                layout.write_archive(image.archive, {image.ref: image.ref}, archive.file)
                archive.flush()
                self._load("image-archive", archive.name)
        return image.ref

    def _load(self, kind: str, what: str | Path) -> None:
        with advised():
            run([_program(), "load", kind, what, "--name", self._name])

    def _exists(self) -> bool:
        return self._name in run([_program(), "get", "clusters"]).split()

    def _delete(self) -> None:
        run([_program(), "delete", "cluster", "--name", self._name, "--kubeconfig", self._kubeconfig()])

    def _kubeconfig(self) -> Path:
        folder = cache.root() / "clusters" / self._name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "kind-kubeconfig"

    def _write_kubeconfig(self) -> Path:
        path = self._kubeconfig()
        run([_program(), "export", "kubeconfig", "--name", self._name, "--kubeconfig", path])
        return path


def _program() -> Path:
    """Return the ``kind`` on PATH, else the project's own build of it."""
    ensure_engine("kind")
    on_path = shutil.which("kind")
    return Path(on_path) if on_path else gotools.program("kind")

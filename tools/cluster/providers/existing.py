"""A cluster that this tool did not start, by an explicit kubeconfig or context. It is never started or stopped."""

from __future__ import annotations

import os
from pathlib import Path

from tools.cluster import binaries, cache
from tools.cluster.errors import ToolError
from tools.cluster.images.push import name_in, push
from tools.cluster.progress import say
from tools.cluster.providers.base import Image, Status
from tools.cluster.shell import run

ENV_REGISTRY = "FLOWCLUSTER_REGISTRY"


class Existing:
    """The cluster that a kubeconfig points to.

    Args:
        file: the kubeconfig; None: kubectl's own rules (``KUBECONFIG``, then the home directory).
        context: one of its contexts; empty: its current one.
    """

    kind = "existing"

    def __init__(self, file: Path | None, context: str = "") -> None:
        self._file = file
        self._context = context

    def up(self) -> None:
        """Check that it answers.

        Raises:
            ToolError: it does not answer.
        """
        status = self.status()
        if not status.ready:
            raise ToolError(f"the cluster does not answer: {status.detail}")
        say(status.detail)

    def down(self, *, purge: bool = False) -> None:
        """Do nothing: this tool did not start the cluster."""
        say("not stopped: this cluster was given by a kubeconfig or context, and this tool did not start it")

    def status(self) -> Status:
        """Query its version."""
        name = self._context or "current context"
        try:
            path = self.kubeconfig()
            answer = run([binaries.kubectl(), "--kubeconfig", path, "--request-timeout=10s", "version"])
        except ToolError as error:
            return Status(self.kind, name, False, str(error))
        version = next((line for line in answer.splitlines() if line.startswith("Server")), "answers")
        return Status(self.kind, name, True, f"{name}: {version}", path)

    def kubeconfig(self) -> Path:
        """Return the given file, or a copy whose current context is the requested one."""
        if self._file and not self._file.is_file():
            raise ToolError(f"there is no kubeconfig at {self._file}")
        if self._file and not self._context:
            return self._file
        argv: list[str | Path] = [binaries.kubectl(), "config", "view", "--raw", "--minify"]
        argv += ["--kubeconfig", self._file] if self._file else []
        argv += ["--context", self._context] if self._context else []
        content = run(argv, hint="`kubectl config get-contexts` lists the contexts.")
        key = cache.digest([str(self._file), self._context])[:16]
        path = cache.root() / "kubeconfigs" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(content)
        return path

    def images(self) -> None:
        """Return None: the images are not known."""

    def load(self, image: Image) -> str:
        """Push it to the registry ``FLOWCLUSTER_REGISTRY``, from which the nodes pull."""
        registry = os.environ.get(ENV_REGISTRY, "")
        if not registry:
            raise ToolError(
                f"{image.ref} cannot be loaded into a cluster that this tool did not start. Set {ENV_REGISTRY} to a "
                "registry (HOST/PATH) which the cluster pulls from and which you are logged in to."
            )
        name = name_in(registry, image.ref)
        push(image, name)
        return name

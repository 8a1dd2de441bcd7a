"""Build with the Docker engine; images stay in its store."""

from __future__ import annotations

from pathlib import Path

from tools.cluster.images import pip_settings
from tools.cluster.images.spec import BASE, Spec
from tools.cluster.progress import step
from tools.cluster.providers.base import Image
from tools.cluster.shell import run, succeeds


class Docker:
    """The engine's own builder, cache and store."""

    def base(self) -> str:
        """The base image's id; pulled when the engine does not have it."""
        if not succeeds(["docker", "image", "inspect", BASE]):
            with step(f"pulling {BASE}"):
                run(["docker", "pull", "--quiet", BASE])
        return run(["docker", "image", "inspect", "--format", "{{.Id}}", BASE]).strip()

    def built(self, ref: str) -> Image | None:
        """The image if the engine's store has it."""
        return Image(ref) if succeeds(["docker", "image", "inspect", ref]) else None

    def build(self, spec: Spec, context: Path, ref: str) -> Image:
        """``docker build``, with this machine's pip settings except its certificates, which the build cannot see."""
        target = ["--target", spec.target] if spec.target else []
        with pip_settings.secret(cert=False) as secret:
            run(
                ["docker", "build", "--tag", ref, "--file", context / spec.dockerfile, *target, *secret, context],
                env={"DOCKER_BUILDKIT": "1"},
            )
        return Image(ref)

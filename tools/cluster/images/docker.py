"""Build with the Docker engine; images stay in its store."""

from __future__ import annotations

import re
from pathlib import Path

from tools.cluster.images import pip_settings
from tools.cluster.images.python import base_image
from tools.cluster.images.spec import Spec
from tools.cluster.progress import Step, step
from tools.cluster.providers.base import Image
from tools.cluster.shell import follow, run, succeeds


class Docker:
    """The engine's own builder, cache and store."""

    def base(self) -> str:
        """The base image's id; pulled when the engine does not have it."""
        base = base_image()
        if not succeeds(["docker", "image", "inspect", base]):
            with step(f"pulling {base}"):
                run(["docker", "pull", "--quiet", base])
        return run(["docker", "image", "inspect", "--format", "{{.Id}}", base]).strip()

    def built(self, ref: str) -> Image | None:
        """The image if the engine's store has it."""
        return Image(ref) if succeeds(["docker", "image", "inspect", ref]) else None

    def build(self, spec: Spec, context: Path, ref: str, here: Step) -> Image:
        """``docker build``, with this machine's pip settings except its certificates, which the build cannot see."""
        target = ["--target", spec.target] if spec.target else []
        base = ["--build-arg", f"BASE={base_image()}"]
        with pip_settings.secret(cert=False) as secret:
            build: list[str | Path] = ["docker", "build", "--progress=plain", "--tag", ref]
            build += ["--file", context / spec.dockerfile, *base, *target, *secret, context]
            follow(build, lambda line: _note(here, line), env={"DOCKER_BUILDKIT": "1"})
        return Image(ref)


def _note(here: Step, line: str) -> None:
    """Keep the step of the Dockerfile that is under way: ``#12 [runtime 3/5] RUN pip install …``."""
    if match := re.match(r"#\d+ (\[.+?\] .{0,40})", line):
        here.reached = match[1].strip()

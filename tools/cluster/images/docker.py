"""Build with the Docker engine, in whose store the images stay."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tools.cluster.docker import advised, ensure_buildkit
from tools.cluster.images import pip_settings
from tools.cluster.images.python import base_image
from tools.cluster.images.spec import REPOSITORY, SPECS, TAG_DIGITS, Base, Spec
from tools.cluster.progress import Step, step
from tools.cluster.providers.base import Image
from tools.cluster.shell import follow, run, succeeds

#: Variables that BuildKit passes to each step as build arguments, and stores in no layer and no history.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
#: By default, an engine with containerd's image store adds an attestation. The image is then an index that changes with
#: each build, and an archive of it is not one image for a node.
_ENVIRONMENT = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


class Docker:
    """The engine's own builder, cache and store."""

    def base(self) -> Base:
        """Return the base image. Pull it when the engine does not have it for the platform that it must use."""
        name = base_image()
        wanted = os.environ.get("DOCKER_DEFAULT_PLATFORM", "").split("/")[:2]  # without the variant of the processor
        found = _inspected(name) if succeeds(["docker", "image", "inspect", name]) else None
        if found is None or (wanted != [""] and found.platform.split("/") != wanted):
            with step(f"pulling {name}"):
                run(["docker", "pull", "--quiet", name])
            found = _inspected(name)
        return found

    def built(self, ref: str) -> Image | None:
        """Return the image if the engine's store has it."""
        return Image(ref) if succeeds(["docker", "image", "inspect", ref]) else None

    def build(self, spec: Spec, base: Base, context: Path, ref: str, here: Step) -> Image:
        """Run ``docker build`` with this machine's pip settings, certificates and proxies."""
        ensure_buildkit()
        target = ["--target", spec.target] if spec.target else []
        arguments = ["--build-arg", f"BASE={base_image()}"]
        for name in _PROXIES:
            for spelled in (name, name.lower()):
                if spelled in os.environ:
                    arguments += ["--build-arg", spelled]  # without the value, which can hold a password
        with pip_settings.secrets() as secrets, advised():
            build: list[str | Path] = ["docker", "build", "--progress=plain", "--platform", base.platform, "--tag", ref]
            build += ["--file", context / spec.dockerfile, *arguments, *target, *secrets, context]
            follow(build, lambda line: _note(here, line), env=_ENVIRONMENT)
        return Image(ref)

    def remove_built(self) -> None:
        """Remove what was built from the engine's store, but no image of a similar name that the user built."""
        below = REPOSITORY.removeprefix("docker.io/")  # the engine lists names without the default registry
        listing = ["docker", "image", "ls", "--filter", f"reference={below}/*", "--format", "{{.Repository}}:{{.Tag}}"]
        built = re.compile(rf"{below}/({'|'.join(SPECS)}):[0-9a-f]{{{TAG_DIGITS}}}")
        if names := [name for name in run(listing).split() if built.fullmatch(name)]:
            run(["docker", "image", "rm", *names])


def _inspected(name: str) -> Base:
    return Base(*run(["docker", "image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", name]).split())


def _note(here: Step, line: str) -> None:
    """Record the current step of the Dockerfile: ``#12 [runtime 3/5] RUN pip install …``."""
    if match := re.match(r"#\d+ (\[.+?\] .{0,40})", line):
        here.reached = match[1].strip()

"""Build with buildah, for machines without a Docker engine. The images are in the cache, in OCI layout."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from tools.cluster import cache, debian
from tools.cluster.errors import ToolError
from tools.cluster.images import layout, pip_settings, standin
from tools.cluster.images.python import base_image
from tools.cluster.images.spec import Base, Spec
from tools.cluster.progress import Step, say, step
from tools.cluster.providers.base import Image
from tools.cluster.shell import follow, run, succeeds

PROGRAMS = {"buildah": "buildah", "skopeo": "skopeo"}
#: Hides the mounts of a build from the machine: buildah's store mounts its own folder, and does not unmount it.
PRIVATE = ("unshare", "--mount")


class Buildah:
    """buildah with a store of its own in the cache."""

    def __init__(self) -> None:
        debian.ensure(PROGRAMS, "building images without a Docker engine")
        self._folder = cache.root() / "images"
        self._layout = self._folder / "oci"

    def base(self) -> Base:
        """Return the base image: the public one if it can be pulled, else a stand-in made from Debian packages."""
        base = base_image()
        if not self._has(base):
            if succeeds(self._buildah("pull", "--quiet", base)):
                say(f"pulled {base}")
            else:
                self._make_standin(base)
        identity = run(self._buildah("images", "--quiet", "--no-trunc", base)).strip()
        platform = "{{.OCIv1.OS}}/{{.OCIv1.Architecture}}"
        return Base(identity, run(self._buildah("inspect", "--type", "image", "--format", platform, base)).strip())

    def built(self, ref: str) -> Image | None:
        """Return the image if the cache has it."""
        return Image(ref, self._layout) if layout.entry(self._layout, ref) else None

    def build(self, spec: Spec, base: Base, context: Path, ref: str, here: Step) -> Image:
        """Build, reusing every layer whose inputs are unchanged, and add the result to the cache's OCI layout."""
        target = ["--target", spec.target] if spec.target else []
        # chroot: needs no more rights than root in a container has. The network is the machine's own.
        how = ["--layers", "--pull-never", "--isolation", "chroot", "--network", "host"]
        what: list[str | Path] = ["--build-arg", f"BASE={base_image()}", "--tag", ref]
        what += ["--file", context / spec.dockerfile, context]
        with pip_settings.secrets() as secrets:
            build = [*self._buildah("build"), *how, *target, *secrets, *what]
            follow(build, lambda line: _note(here, line))
        self._export(ref)
        return Image(ref, self._layout)

    def _export(self, ref: str) -> None:
        """Add an image to the layout. Layers that are there already take no time, as they are not compressed."""
        self._layout.mkdir(parents=True, exist_ok=True)
        index = self._layout / "index.json"
        try:
            json.loads(index.read_text())
        except FileNotFoundError:
            pass
        except ValueError:
            index.unlink()  # incomplete, because an earlier run was killed; the blobs are complete
        store = f"[{self._driver}@{self._folder / 'store'}+{self._folder / 'run'}]"
        copy = [*PRIVATE, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-oci-accept-uncompressed-layers"]
        run([*copy, f"containers-storage:{store}{ref}", f"oci:{self._layout}:{ref}"])

    def _make_standin(self, base: str) -> None:
        archive = standin.archive()
        with step(f"making a stand-in for {base}, which cannot be pulled here"):
            run(self._buildah("build", "--quiet", "--isolation", "chroot", "--tag", base, archive.parent))

    def _has(self, ref: str) -> bool:
        return succeeds(self._buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", ref))

    def _buildah(self, command: str, *arguments: str | Path) -> list[str | Path]:
        store: list[str | Path] = ["--root", self._folder / "store", "--runroot", self._folder / "run"]
        return [*PRIVATE, "buildah", *store, command, *arguments]

    @functools.cached_property
    def _driver(self) -> str:
        name = json.loads(run(self._buildah("info")))["store"]["GraphDriverName"]
        if not isinstance(name, str):
            raise ToolError("buildah does not report its storage driver: see `buildah info`.")
        return name


def _note(here: Step, line: str) -> None:
    """Record the current step of the Dockerfile: ``[3/5] STEP 2/6: RUN pip install …``."""
    if match := re.match(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: .{0,40}", line):
        here.reached = match[0].strip()

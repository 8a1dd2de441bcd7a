"""Build the images that are not built yet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tools.cluster import cache
from tools.cluster.docker import engine_answers
from tools.cluster.images import spec as specs
from tools.cluster.images.buildah import Buildah
from tools.cluster.images.builder import Builder
from tools.cluster.images.docker import Docker
from tools.cluster.progress import step
from tools.cluster.providers.base import Image


def build(names: Iterable[str] = specs.INSTALLED) -> dict[str, Image]:
    """Build images from the files as they are now, unless they are built already. Return them by name.

    Raises:
        ToolError: a name is unknown, or a build failed. The message ends with its output.
    """
    wanted = [specs.named(name) for name in names]
    with cache.locked(cache.root() / "images" / "lock", "building images"):
        builder: Builder = Docker() if engine_answers() else Buildah()
        base = builder.base()
        return {spec.name: _built(builder, spec, base) for spec in wanted}


def _built(builder: Builder, spec: specs.Spec, base: specs.Base) -> Image:
    image = builder.built(specs.reference(spec, base))
    if image is not None:
        return image
    with tempfile.TemporaryDirectory(prefix="flowcluster-image-") as temporary:
        context = Path(temporary)
        specs.snapshot(spec, base, context)
        ref = specs.reference(spec, base, context)
        with step(f"building {ref}") as here:
            return builder.build(spec, base, context, ref, here)


def find(ref: str) -> Image | None:
    """Return the image of that name, or None if it was not built here."""
    builder: Builder = Docker() if engine_answers() else Buildah()
    return builder.built(ref)

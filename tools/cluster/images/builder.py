"""What a way of building images can do."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tools.cluster.images.spec import Base, Spec
from tools.cluster.progress import Step
from tools.cluster.providers.base import Image


class Builder(Protocol):
    """Docker or buildah. Every method may raise ToolError."""

    def base(self) -> Base:
        """The base image that builds start from; fetched if need be."""

    def built(self, ref: str) -> Image | None:
        """The image of that name if it was built before and is still there."""

    def build(self, spec: Spec, base: Base, context: Path, ref: str, here: Step) -> Image:
        """Build an image from the files in ``context`` and name it; ``here`` is kept up with how far that is."""

"""The protocol of image builders."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tools.cluster.images.spec import Base, Spec
from tools.cluster.progress import Step
from tools.cluster.providers.base import Image


class Builder(Protocol):
    """Docker or buildah. Every method can raise ToolError."""

    def base(self) -> Base:
        """Return the base image of builds, fetched if needed."""

    def built(self, ref: str) -> Image | None:
        """Return the image of that name if it was built before and still exists."""

    def build(self, spec: Spec, base: Base, context: Path, ref: str, here: Step) -> Image:
        """Build an image from the files in ``context`` and name it. Record the progress in ``here``."""

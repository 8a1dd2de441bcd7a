"""Push images to a registry with Docker or skopeo, or write them to one archive for a network without a registry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tools.cluster import debian
from tools.cluster.errors import ToolError
from tools.cluster.images import layout
from tools.cluster.images.spec import REPOSITORY
from tools.cluster.providers.base import Image
from tools.cluster.shell import run


def name_in(registry: str, ref: str) -> str:
    """Return the name of an image in a registry.

    Args:
        registry: ``HOST/PATH``, or ``HOST`` where the registry has no folders.
        ref: The image's name here. An image of the project gets the name ``REGISTRY/operator:tag``. Another one keeps
            the last two parts of its name, as in ``REGISTRY/library/busybox:tag``.

    Raises:
        ToolError: The registry is not of that form.
    """
    registry = registry.rstrip("/")
    host = registry.partition("/")[0]
    if "://" in registry or not ("." in host or ":" in host or host == "localhost"):
        raise ToolError(f"the registry {registry!r} is not of the form HOST/PATH, such as registry.example.com/team.")
    own = ref.removeprefix(f"{REPOSITORY}/")
    return f"{registry}/{own if own != ref else '/'.join(ref.split('/')[-2:])}"


def push(image: Image, name: str) -> None:
    """Push an image to the registry that its new name begins with.

    Raises:
        ToolError: The registry refuses it, or cannot be reached. The message names the login command.
    """
    host = name.partition("/")[0]
    if image.archive is None:
        run(["docker", "tag", image.ref, name])
        run(["docker", "push", "--quiet", name], hint=f"`docker login {host}` logs in.")
    else:
        source = f"oci:{image.archive}:{image.ref}" if image.archive.is_dir() else f"docker-archive:{image.archive}"
        debian.ensure({"skopeo": "skopeo"}, "pushing images without a Docker engine")
        copy = ["skopeo", "copy", "--quiet", "--insecure-policy", source, f"docker://{name}"]
        run(copy, hint=f"`skopeo login {host}` logs in.")


def save(images: Collection[Image], names: Sequence[str], archive: Path) -> None:
    """Write images to one archive file, which ``docker load``, skopeo and containerd can read.

    Args:
        images: The images, all of one builder.
        names: Their names in the archive.
        archive: The file. Its folder is created if it does not exist.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    refs = dict(zip([image.ref for image in images], names, strict=True))
    (folder,) = {image.archive for image in images}
    if folder is not None:
        with archive.open("wb") as out:
            layout.write_archive(folder, refs, out)
        return
    for ref, name in refs.items():
        run(["docker", "tag", ref, name])
    run(["docker", "save", "--output", archive, *names])

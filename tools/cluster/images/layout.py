"""Images in one folder in OCI layout. The folder has each shared layer once, uncompressed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from tools.cluster.errors import ToolError

REF = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


def entry(folder: Path, ref: str) -> dict[str, Any] | None:
    """Return the index entry of an image that is in the layout with all its blobs, else None."""
    try:
        index = json.loads((folder / "index.json").read_text())
    except (OSError, ValueError):
        return None
    for item in index["manifests"]:
        if item.get("annotations", {}).get(REF) == ref:
            found: dict[str, Any] = item
            whole = all(_blob(folder, digest).exists() for digest in [found["digest"], *_referenced(folder, found)])
            return found if whole else None
    return None


def write_archive(folder: Path, refs: Mapping[str, str], out: IO[bytes], *, without: Collection[str] = ()) -> None:
    """Write images as one archive in OCI layout, with the list that older releases of ``docker load`` need.

    Args:
        folder: the layout.
        out: receives the archive.
        refs: the images' names in the layout, with those in the archive.
        without: digests (``sha256:…``) of layers that the receiver has, which are not written.

    Raises:
        ToolError: the layout does not have one of the images.
    """
    manifests: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    digests: dict[str, None] = {}  # each blob once, in order
    for ref, name in refs.items():
        found = entry(folder, ref)
        if found is None:
            raise ToolError(f"{ref} was not built here: `python -m tools.cluster images` builds it.")
        manifests.append(found | {"annotations": {REF: name, CONTAINERD_NAME: name}})
        config, *layers = _referenced(folder, found)
        listed.append({"Config": _path(config), "RepoTags": [name], "Layers": [_path(layer) for layer in layers]})
        digests |= dict.fromkeys([found["digest"], config, *layers])
    with tarfile.open(fileobj=out, mode="w|") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        _add(tar, "manifest.json", json.dumps(listed).encode())
        for digest in digests:
            if digest not in without:
                tar.add(_blob(folder, digest), _path(digest), recursive=False)


def references(archive: Path) -> list[str]:
    """Return the names of the images in an archive file, in Docker's or OCI's layout, or an empty list."""
    names: list[str] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") not in ("manifest.json", "index.json"):
                continue
            reader = tar.extractfile(member)
            content = json.load(reader) if reader else []
            if isinstance(content, list):
                return [name for image in content for name in image.get("RepoTags") or []]
            annotations = [item.get("annotations", {}) for item in content["manifests"]]
            names = [name for item in annotations if (name := item.get(CONTAINERD_NAME) or item.get(REF))]
    return names


def _referenced(folder: Path, item: dict[str, Any]) -> list[str]:
    """Return the digests of an image's configuration and layers."""
    try:
        manifest = json.loads(_blob(folder, item["digest"]).read_text())
    except OSError:
        return []
    return [part["digest"] for part in [manifest["config"], *manifest["layers"]]]


def _blob(folder: Path, digest: str) -> Path:
    return folder / _path(digest)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))

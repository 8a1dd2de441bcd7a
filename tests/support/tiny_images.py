"""Images of a few bytes that every program accepts: a layer with one file, in OCI layout."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.cluster.images import layout

_TYPE = "application/vnd.oci.image"


def make(folder: Path, refs: Sequence[str]) -> None:
    """Create images of these names, which share a layer. Each has a label `name` with its name."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    manifests = []
    for ref in refs:
        layers = [_blob(folder, f"{_TYPE}.layer.v1.tar", _layer(name)) for name in ("shared", ref.replace("/", "-"))]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"name": ref}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": _blob(folder, f"{_TYPE}.config.v1+json", json.dumps(config).encode()),
            "layers": layers,
        }
        entry = _blob(folder, f"{_TYPE}.manifest.v1+json", json.dumps(manifest).encode())
        manifests.append({**entry, "annotations": {layout.REF: ref}})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def _blob(folder: Path, media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _layer(name: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        file = tarfile.TarInfo(name)
        file.size = len(name)
        tar.addfile(file, io.BytesIO(name.encode()))
    return content.getvalue()

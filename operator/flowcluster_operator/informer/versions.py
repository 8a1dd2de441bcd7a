"""Resource versions: which of two states of an object is newer, and whether only the version differs."""

from __future__ import annotations

from flowcluster_operator.resources import Object


def is_same(known: Object, obj: Object) -> bool:
    """Return whether two states of an object differ only in their resource version."""
    version = obj["metadata"].get("resourceVersion")
    return {**known, "metadata": {**known["metadata"], "resourceVersion": version}} == obj


def version_of(obj: Object) -> int:
    """Return the resource version as a number. The API server guarantees that those of one kind compare as numbers."""
    return int(obj["metadata"].get("resourceVersion", 0))

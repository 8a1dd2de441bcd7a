"""A hash of what the pods of a shared cluster are built from. When it changes, the operator replaces the cluster."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flowcluster_api.v1alpha1 import Scheduler, SharedClusterSpec, Workers
from flowcluster_operator.settings import Settings

#: Fields whose edits act on the live cluster: the bounds. They are not in the hash.
_LIVE = {"minimum", "maximum"}
#: Hexadecimal digits of the hash: 64 bits.
_LENGTH = 16


def template_hash(spec: SharedClusterSpec, settings: Settings) -> str:
    """Return a hash of the fields whose edits replace the cluster (`edits.SHARED_EDITS`), with the image resolved."""
    built = {
        "kind": spec.kind,
        "image": spec.image or settings.default_image,
        "scheduler": _dumped(spec.scheduler or Scheduler()),
        "workers": _dumped(spec.workers or Workers()),
        "groups": [_dumped(group) for group in spec.worker_groups],
    }
    return digest(built)


def digest(value: Any) -> str:
    """Return a hash of a JSON value, in a form that a label can have."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _dumped(part: Scheduler | Workers) -> dict[str, Any]:
    return part.model_dump(by_alias=True, exclude_none=True, exclude=_LIVE, mode="json")

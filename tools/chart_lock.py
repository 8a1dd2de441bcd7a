"""Chart.lock, as ``helm dependency update`` would write it.

helm compares the lock's digest with Chart.yaml before ``helm dependency build`` downloads anything, and refuses a lock
that does not match. This module computes the same digest, so that the lock can be kept up to date without helm and
without the charts' repositories.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

Dependency = Mapping[str, Any]
#: Fields of helm's Dependency in the order in which helm writes them. helm leaves out empty fields, except those in
#: `_ALWAYS`.
_FIELDS = ("name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias")
_ALWAYS = ("name", "repository")


def lock_text(chart: str, current: str = "", now: dt.datetime | None = None) -> str:
    """Return the text of the Chart.lock that belongs to a Chart.yaml.

    Args:
        chart: Text of the Chart.yaml. Each of its dependencies names one exact version.
        current: Text of the current lock. As with helm, it does not change while its digest is right.
        now: Time of the lock. Default: the clock's.
    """
    required: list[Dependency] = yaml.safe_load(chart).get("dependencies") or []
    locked = [{field: item.get(field, "") for field in ("name", "repository", "version")} for item in required]
    digest = dependency_digest(required, locked)
    if (yaml.safe_load(current) or {}).get("digest") == digest:
        return current
    generated = (now or dt.datetime.now(dt.UTC)).isoformat(timespec="seconds")
    return yaml.safe_dump({"dependencies": locked, "digest": digest, "generated": generated}, sort_keys=False)


def dependency_digest(required: Iterable[Dependency], locked: Iterable[Dependency]) -> str:
    """Return the digest of helm's resolver: the SHA-256 of both lists as Go's encoder writes them in JSON."""
    lists = [[_encoded(item) for item in items] for items in (required, locked)]
    text = json.dumps(lists, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _encoded(item: Dependency) -> dict[str, Any]:
    return {field: item.get(field, "") for field in _FIELDS if item.get(field) or field in _ALWAYS}

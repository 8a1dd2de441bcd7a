"""Bounds of workers, as operator and SDK apply them."""

from __future__ import annotations


def default_maximum(minimum: int) -> int:
    """Return the maximum of workers where a spec has none: the minimum, and at least one worker."""
    return max(minimum, 1)

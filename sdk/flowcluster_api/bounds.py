"""Default bounds of workers, for operator and SDK."""

from __future__ import annotations


def default_maximum(minimum: int) -> int:
    """Return the maximum of workers for a spec without one: the minimum, and at least one worker."""
    return max(minimum, 1)

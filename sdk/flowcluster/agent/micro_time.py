"""Times in the form of Kubernetes' MicroTime, the type of the times in a Lease."""

from __future__ import annotations

import datetime as dt


def now() -> str:
    """Return the present time."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

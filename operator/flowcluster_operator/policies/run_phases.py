"""Whether nothing of a run must exist for now: it is suspended, or has lost its cluster and starts again.

`policies.shared.phases` has the same for shared clusters.
"""

from __future__ import annotations

from flowcluster_operator.resources import Object


def is_suspended(status: Object) -> bool:
    """Return whether the run was suspended, and has not started again."""
    return status.get("phase") == "Suspended"


def is_rebuilding(status: Object) -> bool:
    """Return whether the run has lost its cluster: the operator deletes what is left before it creates another one."""
    return "lostTime" in status


def must_be_empty(status: Object) -> bool:
    """Return whether nothing of the run must exist for now."""
    return is_suspended(status) or is_rebuilding(status)

"""The conditions in the status of an object."""

from __future__ import annotations

from flowcluster_operator.resources import Object


def true_condition(obj: Object | None, kind: str) -> Object | None:
    """Return the object's condition of that type if it is True, else None."""
    return _find((obj or {}).get("status") or {}, kind, "True")


def is_true(status: Object, kind: str) -> bool:
    """Return whether the condition of that type is True in `status`."""
    return _find(status, kind, "True") is not None


def is_false(status: Object, kind: str) -> bool:
    """Return whether the condition of that type is False in `status`; one that is missing is not."""
    return _find(status, kind, "False") is not None


def has_ended(job: Object) -> bool:
    """Return whether a Job is complete or has failed."""
    return any(true_condition(job, kind) for kind in ("Complete", "Failed"))


def _find(status: Object, kind: str, value: str) -> Object | None:
    conditions = status.get("conditions") or []
    return next((item for item in conditions if item["type"] == kind and item["status"] == value), None)

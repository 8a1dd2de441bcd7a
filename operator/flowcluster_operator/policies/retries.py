"""How often the driver of a run is started again. Pure."""

from __future__ import annotations

from flowcluster_operator.model import Amend, Observed, Resizing, identity
from flowcluster_operator.resources import JOB, Object


def job_limit(observed: Observed) -> int:
    """Return the backoffLimit of the run's Job."""
    assert observed.spec is not None
    assert observed.spec.flow is not None
    return observed.spec.flow.backoff_limit


def limiting(observed: Observed) -> Resizing:
    """Return the patch by which an edit of spec.flow.backoffLimit gets to a Job that has not ended."""
    job = observed.job
    if job is None or observed.spec is None or observed.spec.flow is None or _is_over(job):
        return Resizing()
    limit = job_limit(observed)
    if job["spec"].get("backoffLimit", limit) == limit:
        return Resizing()
    return Resizing((Amend(JOB, *identity(job), {"spec": {"backoffLimit": limit}}),))


def _is_over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    has_ended = any(item["type"] in ("Complete", "Failed") and item["status"] == "True" for item in conditions)
    return has_ended or "deletionTimestamp" in job["metadata"]

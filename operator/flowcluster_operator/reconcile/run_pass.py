"""The values that the decisions of one pass over a run have in common, computed once."""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import backend_of
from flowcluster_operator.model.failures import RepeatedFailure
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.causes import Cause, cause, failure_cause
from flowcluster_operator.policies.scale_target import scale
from flowcluster_operator.reconcile.intervals import SHOWN_SECONDS
from flowcluster_operator.settings import Settings
from flowcluster_operator.status.draft import Draft


@dataclasses.dataclass(frozen=True)
class RunPass:
    """One pass over a run that has not finished.

    Attributes:
        observed: the run.
        draft: its next status.
        settings: of the operator.
        now: the time of the pass.
        backend: of the kind of its cluster; None where it has none, or its kind is not known yet.
        workers: bounds and target of its workers.
        why: the cause that holds the run up; None where there is none.
    """

    observed: Observed
    draft: Draft
    settings: Settings
    now: dt.datetime
    backend: Backend | None
    workers: Scale
    why: Cause | None

    @staticmethod
    def of(observed: Observed, draft: Draft, settings: Settings, now: dt.datetime) -> RunPass:
        """Return the pass over what was observed."""
        backend = backend_of(observed.spec.cluster)
        why = shown_cause(observed.failure) or cause(observed, backend, now)
        return RunPass(observed, draft, settings, now, backend, scale(observed, settings), why)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the run exists."""
        return is_empty(self.observed)


def is_empty(observed: Observed) -> bool:
    """Return whether nothing of a run or shared cluster exists, as the API server confirmed."""
    return observed.verified_gone and not teardown.anything_left(observed)


def shown_cause(failure: RepeatedFailure | None) -> Cause | None:
    """Return why passes keep failing; None where none fails, or the failure is so recent that it may end by itself."""
    return failure_cause(failure) if failure is not None and failure.seconds >= SHOWN_SECONDS else None

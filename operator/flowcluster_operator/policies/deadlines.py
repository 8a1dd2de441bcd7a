"""Which deadline of a run has passed. Pure."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.facts import parse_time
from flowcluster_operator.resources import Object


class Passed(NamedTuple):
    """A deadline that has passed.

    Attributes:
        is_start: whether it is that of the start, which counts until the run is ready; else that of the whole run.
        message: half a sentence with the seconds and the field.
    """

    is_start: bool
    message: str


def passed(status: Object, spec: FlowRunSpec, now: dt.datetime) -> Passed | None:
    """Return the deadline that has passed, that of the whole run first; None while there is time."""
    if "startTime" not in status:
        return None
    seconds = (now - parse_time(status["startTime"])).total_seconds()
    limit = spec.active_deadline_seconds
    if limit is not None and seconds >= limit:
        return Passed(False, f"still going after {limit} s (spec.activeDeadlineSeconds)")
    limit = spec.start_deadline_seconds
    if "readyTime" not in status and seconds >= limit:
        return Passed(True, f"not started within {limit} s (spec.startDeadlineSeconds)")
    return None

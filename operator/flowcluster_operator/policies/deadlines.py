"""Which deadline of a run has passed, or is next. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time


class Passed(NamedTuple):
    """A deadline that has passed.

    Attributes:
        is_start: whether it is the deadline of the start, which applies until the run is ready. Otherwise it is that of
            the whole run.
        message: a phrase with the seconds and the field.
    """

    is_start: bool
    message: str


def passed(status: Object, spec: FlowRunSpec, now: dt.datetime) -> Passed | None:
    """Return the deadline that has passed, that of the whole run first; None while there is time."""
    for is_start, limit, left in _deadlines(status, spec, now):
        if left <= 0:
            text = (
                "not started within {} s (spec.startDeadlineSeconds)"
                if is_start
                else "still going after {} s (spec.activeDeadlineSeconds)"
            )
            return Passed(is_start, text.format(limit))
    return None


def seconds_left(status: Object, spec: FlowRunSpec, now: dt.datetime) -> list[float]:
    """Return the seconds until each deadline that has not passed."""
    return [left for _, _, left in _deadlines(status, spec, now) if left > 0]


def _deadlines(status: Object, spec: FlowRunSpec, now: dt.datetime) -> Iterator[tuple[bool, int, float]]:
    """Yield for each deadline whether it is that of the start, its limit, and the seconds until it passes.

    A run that starts again after the loss of its cluster has a new start deadline. It counts from the loss, and again
    from when the next cluster is created. The deadline of the whole run goes on.
    """
    if "startTime" not in status:
        return
    if spec.active_deadline_seconds is not None:
        since = parse_time(status["startTime"])
        yield False, spec.active_deadline_seconds, spec.active_deadline_seconds - (now - since).total_seconds()
    if "readyTime" not in status:
        since = parse_time(status.get("lostTime") or status.get("rebuildTime") or status["startTime"])
        yield True, spec.start_deadline_seconds, spec.start_deadline_seconds - (now - since).total_seconds()

"""What each run can use of a cluster. Pure."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api.keeper import SPARE, Instructions


class Shares(NamedTuple):
    """What runs can use.

    Attributes:
        part: tasks in flight of a run without a share of its own: an equal part of the largest number of threads that
            the cluster can have.
        own: by digest, priority and bound on tasks in flight of the runs that have another priority than 0, or a share.
            There can be thousands of runs, and most have neither.
    """

    part: int
    own: dict[str, tuple[int, int]]


def shares_of(instructions: Instructions) -> Shares:
    """Return what the runs in the instructions can use."""
    threads = sum(bounds.maximum * bounds.threads for _, bounds in instructions.groups)
    part = max(SPARE * threads // max(len(instructions.runs), 1), 1)
    own = {run.digest: (run.priority, run.threads or part) for run in instructions.runs if run.priority or run.threads}
    return Shares(part, own)

"""The share of each run in a shared cluster. Without I/O and clocks."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api.keeper import SPARE, Instructions


class Shares(NamedTuple):
    """The shares of runs.

    Attributes:
        part: maximum tasks in flight of a run without a share of its own: `SPARE` tasks for each thread of its equal
            part of the largest number of threads that the cluster can have.
        own: priority and maximum tasks in flight, by the digest of the run, for runs with a priority other than 0 or
            with a share. There can be thousands of runs, and most have neither.
    """

    part: int
    own: dict[str, tuple[int, int]]


def shares_of(instructions: Instructions) -> Shares:
    """Return the shares of the runs in the instructions."""
    threads = sum(bounds.maximum * bounds.threads for _, bounds in instructions.groups)
    part = max(SPARE * threads // max(len(instructions.runs), 1), 1)
    own = {run.digest: (run.priority, run.threads or part) for run in instructions.runs if run.priority or run.threads}
    return Shares(part, own)

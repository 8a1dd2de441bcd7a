"""What each run can use of a cluster. Pure."""

from __future__ import annotations

from flowcluster_api.keeper import SPARE, Instructions


def shares_of(instructions: Instructions) -> dict[str, tuple[int, int | None]]:
    """Return priority and bound on tasks in flight for each run, by UID.

    A run without a share of its own gets an equal part of the largest number of threads that the cluster can have.
    """
    threads = sum(bounds.maximum * bounds.threads for _, bounds in instructions.groups)
    part = max(SPARE * threads // max(len(instructions.runs), 1), 1)
    return {run.uid: (run.priority, part if run.threads is None else run.threads) for run in instructions.runs}

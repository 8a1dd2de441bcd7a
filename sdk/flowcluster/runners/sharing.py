"""The priority and the limit of one run on a shared cluster. Without I/O."""

from __future__ import annotations

from typing import NamedTuple

#: Largest priority of a task within a run, and the distance between two runs of consecutive priorities.
_WITHIN, _APART = 499_999, 1_000_000


class Share(NamedTuple):
    """The share of a run.

    Attributes:
        priority: of its tasks among those of other runs; None on a cluster that is not shared.
        threads: maximum of its tasks in flight; None without a limit.
    """

    priority: int | None = None
    threads: int | None = None

    def ranked(self, priority: float) -> float:
        """Return the priority of a task among those of all runs, from its priority within this run."""
        if self.priority is None:
            return priority
        return self.priority * _APART + min(max(priority, -_WITHIN), _WITHIN)

    def bound(self, most: int | None) -> int | None:
        """Return the maximum of tasks in flight; `most` is the limit of the runner itself."""
        return min((limit for limit in (self.threads, most) if limit is not None), default=None)

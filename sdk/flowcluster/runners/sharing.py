"""What one run can use of a shared cluster. Pure."""

from __future__ import annotations

from typing import NamedTuple

#: Largest priority of a task within a run, and the distance between two runs of consecutive priorities.
_WITHIN, _APART = 499_999, 1_000_000


class Share(NamedTuple):
    """What a run can use.

    Attributes:
        priority: of its tasks among those of other runs; None on a cluster that is not shared.
        threads: its tasks in flight at most; None without a bound.
    """

    priority: int | None = None
    threads: int | None = None

    def ranked(self, priority: float) -> float:
        """Return the priority of a task among those of all runs, from its priority within this run."""
        if self.priority is None:
            return priority
        return self.priority * _APART + min(max(priority, -_WITHIN), _WITHIN)

    def bound(self, most: int | None) -> int | None:
        """Return the number of tasks in flight at most; `most` is the bound of the runner itself."""
        return min((limit for limit in (self.threads, most) if limit is not None), default=None)

"""The progress that a driver reports with each heartbeat, in an annotation of the run's Lease.

The operator does not trust the report: parsing replaces or lowers impossible counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster_api import names

#: Annotation with the driver's `Progress` as JSON.
ANNOTATION_PROGRESS = f"{names.GROUP}/progress"
#: The largest valid count. A larger number cannot come from counting.
LARGEST = 2**31 - 1

_TASKS = ("total", "running", "completed", "failed")


class Tasks(NamedTuple):
    """Counts of the task runs of a running flow.

    Attributes:
        total: created; at least the sum of the others.
        running: started and not ended.
        completed: ended without an error.
        failed: ended with an error.
    """

    total: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0


class Progress(NamedTuple):
    """The progress of a driver at the time of one heartbeat.

    Attributes:
        tasks: the task runs of its flow; None where it has no flow.
        idle: seconds for which no task has run on the run's cluster, by the driver's clock; None where the driver
            cannot observe all work on the cluster.
    """

    tasks: Tasks | None = None
    idle: int | None = None

    def to_json(self) -> str:
        """Return the text of the annotation."""
        data = self.tasks._asdict() if self.tasks is not None else {}
        if self.idle is not None:
            data["idle"] = self.idle
        return json.dumps(data, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Progress | None:
        """Parse an annotation; return None for a text that is not a JSON object.

        A count that is not a whole number between 0 and `LARGEST` becomes 0. Counts that exceed their total are lowered
        to it.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict):
            return None
        idle = data.get("idle")
        return Progress(_tasks(data), _count(idle) if _is_count(idle) else None)


def _tasks(data: Mapping[str, Any]) -> Tasks | None:
    if not any(name in data for name in _TASKS):
        return None
    total, running, completed, failed = (_count(data.get(name)) for name in _TASKS)
    completed = min(completed, total)
    failed = min(failed, total - completed)
    return Tasks(total, min(running, total - completed - failed), completed, failed)


def _count(value: Any) -> int:
    return int(value) if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST

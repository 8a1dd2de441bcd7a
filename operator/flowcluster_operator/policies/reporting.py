"""How soon a new status is written: a phase and a cause immediately, how far a run is after some seconds. Pure.

Pods of a run become Ready one by one, and each one changes the status. No program acts on a state between `Starting`
and `Running`: one write shows several changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowcluster_operator.model import Emit
from flowcluster_operator.resources import Object

#: Seconds between two writes that only show how far a run is, while it starts and later. Most starts take less.
START_SECONDS, LATER_SECONDS = 10.0, 5.0


def can_wait(written: Object, status: Object, events: Sequence[Emit]) -> bool:
    """Return whether a new status only shows how far a run is.

    Args:
        written: the status on the API server.
        status: the new one.
        events: what happened in this pass. A warning is a cause that a user waits for.
    """
    is_same = all(written.get(field) == status.get(field) for field in ("phase", "reason"))
    return is_same and not any(event.type == "Warning" for event in events)


def pause(status: Object) -> float:
    """Return the seconds between two writes of a status that can wait."""
    return START_SECONDS if status["phase"] == "Starting" else LATER_SECONDS

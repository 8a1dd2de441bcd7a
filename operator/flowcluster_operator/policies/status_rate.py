"""How soon the operator writes a new status. Pure.

It writes a phase, a cause and the effect of an edit immediately, and other changes later. The pods of a run become
Ready one by one, and each changes the status. No program acts on the states between `Starting` and `Running`, so one
write can show several changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowcluster_operator.model.plan import Emit
from flowcluster_operator.resources import Object

#: Seconds between two writes that only show how far a run is: while it starts, and later. Most starts take less.
START_SECONDS, LATER_SECONDS = 10.0, 5.0
#: Fields whose change is written immediately. A user who edits a spec waits for `observedGeneration`.
_IMMEDIATE = ("phase", "reason", "observedGeneration")


def can_wait(written: Object, status: Object, events: Sequence[Emit]) -> bool:
    """Return whether a new status only shows how far a run is.

    Args:
        written: the status on the API server.
        status: the new one.
        events: what happened in this pass. A warning is a cause that a user waits for.
    """
    is_same = all(written.get(field) == status.get(field) for field in _IMMEDIATE)
    return is_same and not any(event.type == "Warning" for event in events)


def interval(status: Object) -> float:
    """Return the seconds between two writes of a status that can wait."""
    return START_SECONDS if status["phase"] == "Starting" else LATER_SECONDS

"""The writes of an operator: its mutating requests, with what they are about."""

from __future__ import annotations

import dataclasses
import json

from tests.support.rig.faults import target_of
from tests.support.rig.owners import Owner

#: The HTTP methods of writes.
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclasses.dataclass(frozen=True)
class Write:
    """A mutating request of an operator.

    Attributes:
        number: among the writes for the run under test, from 1; 0 for one that is not for that run.
        method: HTTP method.
        path: without query.
        status: HTTP status of the answer that the operator got; 0 when it got none.
        at: time of the monotonic clock.
        about: of a status, its phase and reason; of an Event, its reason; else empty.
        process: how often an operator had been started by then: another number means another process.
        owner: the run or shared cluster whose pass makes the request; None when that is not known.
    """

    number: int
    method: str
    path: str
    status: int = 0
    at: float = 0.0
    about: str = ""
    process: int = 1
    owner: Owner | None = None

    @property
    def target(self) -> str:
        """What is written, as `target_of` names it."""
        return target_of(self.method, self.path, self.about)

    def __str__(self) -> str:
        about = f" ({self.about})" if self.about else ""
        return f"write {self.number}, {self.method} {self.path}{about} -> {self.status or 'no answer'}"


def about_of(method: str, path: str, body: bytes) -> str:
    """Return what a status or an Event reports."""
    target = target_of(method, path)
    if target == "PUT-status":
        status = json.loads(body).get("status") or {}
        return f"{status.get('phase')} {status.get('reason')}"
    return str(json.loads(body).get("reason")) if target == "POST-events" else ""

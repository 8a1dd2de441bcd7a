"""Faults between the operator and the API server, at a chosen write of the operator."""

from __future__ import annotations

import dataclasses
import enum

from tests.support.rig.client import Body

#: Seconds for which watches are cut or frozen, and for which the operator is away.
LONG_SECONDS = 30.0
#: HTTP statuses with which a write can be refused, and the reason in the Status object.
REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
}
#: Deletions that the operator makes in one branch, for all kinds of objects. Which of them it makes for an owner whose
#: user deletes it depends on how fast the garbage collector is: a fault can be at the first one that it makes.
GROUPS = {
    #: In the background, since nothing depends on them.
    "DELETE-access": ("roles", "rolebindings", "serviceaccounts", "networkpolicies"),
    #: Objects that were controlled by another object, which is gone.
    "DELETE-orphans": (
        "daskclusters", "rayclusters", "jobs", "daskworkergroups", "deployments", "replicasets", "services", "pods",
    ),
}  # fmt: skip


class FaultKind(enum.StrEnum):
    """What happens at the chosen write."""

    NONE = "undisturbed"
    #: SIGKILL before the write reaches the API server; a new operator follows immediately.
    KILL_BEFORE = "kill-before"
    #: SIGKILL when the API server has executed the write; the answer is lost.
    KILL_AFTER = "kill-after"
    #: The API server executes the write, and the connection breaks before its answer arrives.
    DROP_ANSWER = "drop-answer"
    #: The write is refused with an HTTP status and does not reach the API server.
    REFUSE = "refuse"
    #: All watches break, and no watch can be opened for `LONG_SECONDS`.
    CUT_WATCHES = "cut-watches"
    #: All watches deliver nothing for `LONG_SECONDS`, and everything afterwards.
    FREEZE_WATCHES = "freeze-watches"
    #: SIGKILL after a DELETE; the next operator's first listings are those from before that DELETE.
    STALE_LISTS = "stale-lists"
    #: SIGKILL after the write; the next operator starts `LONG_SECONDS` later.
    AWAY = "away"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: what happens.
        write: at which of the operator's writes for the run, counted from 1; among its DELETEs for `STALE_LISTS`, among
            the writes to `target` where that is given.
        status: HTTP status for `REFUSE`.
        target: what is written, as `target_of` names it, such as ``POST-jobs``, or one of `GROUPS`. Without it, a
            number means another write where the writes of a pass, which are made side by side, arrive in another order.
    """

    kind: FaultKind = FaultKind.NONE
    write: int = 0
    status: int = 0
    target: str = ""

    @property
    def seconds(self) -> float:
        """How long the fault itself lasts."""
        lasting = (FaultKind.CUT_WATCHES, FaultKind.FREEZE_WATCHES, FaultKind.AWAY)
        return LONG_SECONDS if self.kind in lasting else 0.0

    def is_at(self, target: str) -> bool:
        """Whether a write to a target, as `target_of` names it, counts for this fault."""
        method, _, plural = target.partition("-")
        group = GROUPS.get(self.target, ())
        return target == self.target or (plural in group and self.target.startswith(f"{method}-"))

    def __str__(self) -> str:
        if self.kind is FaultKind.NONE:
            return str(self.kind)
        word = f"{self.kind}-{self.status}" if self.status else str(self.kind)
        if not self.target:
            return f"{word}@{self.write}"
        return f"{word}@{self.target}" if self.write == 1 else f"{word}@{self.target}~{self.write}"

    @staticmethod
    def parse(text: str) -> Fault:
        """Return the fault of a text that `str` wrote. Raise ValueError for another text."""
        word, _, place = text.partition("@")
        kind, _, status = word.rpartition("-") if word.startswith("refuse-") else (word, "", "")
        if not place or place.isdecimal():
            return Fault(FaultKind(kind), int(place or 0), int(status or 0))
        target, _, write = place.partition("~")
        return Fault(FaultKind(kind), int(write or 1), int(status or 0), target)


UNDISTURBED = Fault()


def target_of(method: str, path: str, about: str = "") -> str:
    """Return what a request is about: its method, with the collection or the subresource, such as ``DELETE-jobs``.

    Args:
        method: HTTP method.
        path: without query.
        about: what a status or an Event reports. Its first word is part of the target, such as ``PUT-status-Running``:
            how many of them an operator writes depends on how many changes it sees at a time.
    """
    parts = path.strip("/").split("/")
    if "namespaces" in parts:
        parts = parts[parts.index("namespaces") + 2 :]
    word = f"{method}-{parts[2] if len(parts) > 2 else parts[0]}"
    return f"{word}-{about.split()[0]}" if about else word


def refusal(status: int, method: str, path: str) -> Body:
    """Return the Status object with which the API server refuses a request.

    A 422 has the text of a ValidatingAdmissionPolicy, which can be changed. One of the API server's own validation is
    final, since the same object would be refused again: the run ends, which unit tests cover.
    """
    message = f"{method} {path} is refused by the test"
    if status == 422:
        message = f"{path} is forbidden: ValidatingAdmissionPolicy 'test' with binding 'test' denied request: {method}"
    reason = "AlreadyExists" if (status, method) == (409, "POST") else REASONS[status]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    }

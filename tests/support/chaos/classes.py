"""The equivalence classes of trials.

In one class, the same code of the operator handles the same fault in the same state. The plan has one trial of each
class. Each rule names the code of the operator that makes it true: a change of
that code can make the rule wrong.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from flowcluster_api import names
from tests.support.rig.faults import GROUPS, REASONS, FaultKind
from tests.support.rig.owners import Owner
from tests.support.rig.writes import Write

_ACCESS, _ORPHANS = ({f"DELETE-{plural}" for plural in GROUPS[group]} for group in ("DELETE-access", "DELETE-orphans"))
#: Phases of owners that exist, and deletions that the operator makes for such an owner when its user has deleted it.
_LIVE = ("Starting", "Running", "Ready")
_SWEPT = {"DELETE-leases"} | _ACCESS | _ORPHANS - {"DELETE-deployments"}  # which it also deletes to have fewer workers
_FINAL = ("Succeeded", "Failed", "Cancelled")
#: Parts of the state of an owner that its user has deleted, and of one that its user deletes at this moment.
_DELETED, _IS_DELETED_SOON = ", deleted", ", about to be deleted"
#: Creations of cluster resources. In `_RACING`, the user deletes the run as soon as it has one.
_CLUSTERS = ("POST-daskclusters", "POST-rayclusters")
_RACING = "delete-starting"
#: Faults at each write, besides refusals and `STALE_LISTS`.
_AT_WRITES = (
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.DROP_ANSWER,
    FaultKind.CUT_WATCHES,
    FaultKind.FREEZE_WATCHES,
    FaultKind.AWAY,
)


@dataclasses.dataclass(frozen=True)
class Call:
    """A write, by what the operator does. The same code in the same state makes two writes with equal calls.

    Attributes:
        kind: of cluster.
        owner: kind of the owner that the operator reconciles: FlowRun or SharedCluster.
        state: the phase that the operator wrote last of that owner; of a run on a shared cluster also that cluster's
            phase, of a shared cluster whether a run uses it; and whether its user deletes it.
        target: what is written, as `target_of` names it, or one of `GROUPS`.
        about: of a status, its phase and reason; of an Event, its reason.
        ordinal: of a status or a patch that is repeated in that state, 1 for the first time and 2 for all others. Other
            writes that are repeated in one state are made at the same time.
        start: 2 while an owner that was stopped starts again, else 1.
    """

    kind: str
    owner: str
    state: str
    target: str
    about: str
    ordinal: int
    start: int


class _Course:
    """What the operator has written so far in one life, by owner."""

    def __init__(self, scenario: str, kind: str) -> None:
        self._scenario, self._kind = scenario, kind
        self._phases: dict[Owner | None, str] = {}
        self._starts: Counter[Owner | None] = Counter()
        self._deletions: dict[Owner | None, str] = {}
        self._counted: defaultdict[Owner | None, Counter[tuple[str, str]]] = defaultdict(Counter)

    def call(self, write: Write) -> Call:
        """Return the call of the next write."""
        owner, before = write.owner, self._phases.get(write.owner, "")
        if write.target in _SWEPT and before in _LIVE:
            self._deletions[owner] = _DELETED
        state = self._state(owner)
        if write.target.startswith("PUT-status"):
            self._enter(owner, write.about.partition(" ")[0])
        if write.target in _CLUSTERS and self._scenario == _RACING:
            self._deletions[owner] = _IS_DELETED_SOON
        counted = self._counted[owner]
        counted[write.target, write.about] += 1
        is_repeated = write.method in ("PUT", "PATCH") and counted[write.target, write.about] > 1
        is_starting = "Starting" in (before, self._phases.get(owner))
        start = 2 if is_starting and self._starts[owner] > 1 else 1
        owners = owner.kind if owner else ""
        return Call(self._kind, owners, state, self._target(write), write.about, 2 if is_repeated else 1, start)

    def _enter(self, owner: Owner | None, phase: str) -> None:
        if self._phases.get(owner) != phase:
            self._starts[owner] += phase == "Starting"
            self._counted[owner].clear()
        self._phases[owner] = phase

    def _state(self, owner: Owner | None) -> str:
        state = self._phases.get(owner, "")
        others = [phase for one, phase in self._phases.items() if one and owner and one.kind != owner.kind]
        if owner and owner.kind == names.KIND:
            state = " on ".join([state, *others])
        elif any(phase not in _FINAL for phase in others):
            state += ", in use"
        return state + self._deletions.get(owner, "")

    def _target(self, write: Write) -> str:
        """Return the target, or its group: `teardown.removals` has one branch for each."""
        if write.target in _ACCESS:
            return "DELETE-access"
        is_in_use = self._phases.get(write.owner) in _LIVE and write.owner not in self._deletions
        return write.target if is_in_use or write.target not in _ORPHANS else "DELETE-orphans"


def calls(scenario: str, kind: str, writes: Iterable[Write]) -> list[Call]:
    """Return the call of each write of a life."""
    course = _Course(scenario, kind)
    return [course.call(write) for write in writes]


class CallFinder:
    """Finds a write in a life by its call: the number of earlier writes to a target depends on the machine's load.

    Args:
        scenario: of the life.
        call: of the write.
        number: which of the writes with that call, from 1.
    """

    def __init__(self, scenario: str, call: Call, number: int = 1) -> None:
        self._course, self._call, self._left = _Course(scenario, call.kind), alone(call), number

    def __call__(self, write: Write) -> bool:
        """Return whether the next write of the life is the one."""
        is_equal = alone(self._course.call(write)) == self._call
        self._left -= is_equal
        return is_equal and self._left == 0


def alone(call: Call) -> Call:
    """Return a call without the state beside its owner: writes for several owners arrive in any order."""
    return dataclasses.replace(call, state=re.sub(r" on \w*|, in use", "", call.state))


def handling(call: Call, status: int) -> str:
    """Return what the operator does when a write is refused, as one word: statuses with one word are equivalent.

    429 and 5xx are `ApiUnavailable` (`Kube._error`): only the wait differs. 403 and 422 are `Refused` (`errors`), also
    where `apply` and `refusals` look further: the 422 of the trials has the words of an admission policy.
    """
    method, _, place = call.target.partition("-")
    if place.startswith("events-"):
        return "logged"  # `apply._emit`
    if status in (429, 500):
        return "unavailable"
    if method == "POST" and status == 404:
        # The cause of the first is another one (`causes._rejected`); the second is tried again (`apply._create`).
        is_special = place in ("daskclusters", "rayclusters", "rolebindings")
        return "not found" if is_special else "refused"  # a `Rejection`, as that of 403
    if method == "PATCH" and status == 422:
        return "test failed"  # perhaps a test of a JSON patch: `Kube.patch` reads the object again
    if status == 409 and method == "POST":
        return "exists"
    return "changed" if status in (404, 409) else "refused"


class Classes:
    """Sorts the faults of lives, one write after the other, by whether an earlier one is equivalent.

    Args:
        seed: selects the status that is tried first among equivalent refusals.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: set[tuple[object, ...]] = set()

    def faults(self, call: Call) -> Iterator[tuple[FaultKind, int, bool]]:
        """Yield kind and status of each fault at a write, and whether no earlier one is equivalent."""
        is_event = call.target.startswith("POST-events")
        for kind in _AT_WRITES:
            yield kind, 0, self._is_new_at_event(call, kind) if is_event else self._add(kind, call)
        if call.target.startswith("DELETE"):
            yield FaultKind.STALE_LISTS, 0, self._add(FaultKind.STALE_LISTS, call)
        new = self._new_refusals(call)
        yield from ((FaultKind.REFUSE, status, status in new) for status in REASONS)

    def _is_new_at_event(self, call: Call, kind: FaultKind) -> bool:
        """An Event follows a status in the same pass, and the operator reads none that it wrote.

        So a fault at the moment of an Event is one after the status. What is left is the answer, which has the same
        code for all Events (`apply._emit`).
        """
        return kind is FaultKind.DROP_ANSWER and self._add(kind, call.kind, call.owner)

    def _new_refusals(self, call: Call) -> list[int]:
        """Return the statuses to try at a call: one of those with the same handling, unless an equal call has one.

        Statuses that the target has not been refused with come first. The answers to all Events have the same code.
        """
        first = zlib.crc32(f"{self._seed} {call}".encode()) % len(REASONS)
        statuses = list(REASONS)[first:] + list(REASONS)[:first]
        untried = [status for status in statuses if (status, *_place(call)) not in self._known]
        if call.target.startswith("POST-events"):
            chosen = untried
        else:
            alike: defaultdict[str, list[int]] = defaultdict(list)
            for status in [*untried, *(status for status in statuses if status not in untried)]:
                alike[handling(call, status)].append(status)
            chosen = [statuses[0] for handled, statuses in alike.items() if self._add(handled, call)]
        self._known |= {(status, *_place(call)) for status in chosen}
        return chosen

    def is_untried(self, call: Call, status: int) -> bool:
        """Return whether no write to the target of a call is refused with a status, and count it as tried."""
        return self._add(status, *_place(call))

    def _add(self, *what: object) -> bool:
        """Remember a class of trials; return whether it is new."""
        if what in self._known:
            return False
        self._known.add(what)
        return True


def _place(call: Call) -> tuple[str, str, str]:
    """Return kind of cluster, owner and target of a call; a status and an Event without what they report."""
    return call.kind, call.owner, "-".join(call.target.split("-")[:2])

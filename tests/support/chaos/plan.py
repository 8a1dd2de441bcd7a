"""Which faults are injected into which lives: all of them, in an order that a seed fixes."""

from __future__ import annotations

import dataclasses
import fnmatch
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.support.chaos.life import Result
from tests.support.chaos.scenarios import KINDS, SCENARIOS
from tests.support.rig.faults import REASONS, Fault, FaultKind

#: Faults at each write, besides refusals.
_AT_WRITES = (
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.DROP_ANSWER,
    FaultKind.CUT_WATCHES,
    FaultKind.FREEZE_WATCHES,
    FaultKind.AWAY,
)
#: Faults at Kubernetes Events that differ from those at the status before them.
_AT_EVENTS = {(FaultKind.KILL_AFTER, 0), (FaultKind.DROP_ANSWER, 0), (FaultKind.REFUSE, 500)}
#: Phases of owners that exist, and deletions that such an owner sees only when its user has deleted it.
_LIVE = ("Starting", "Running", "Ready")
_SWEPT = {
    f"DELETE-{plural}"
    for plural in ("daskclusters", "rayclusters", "jobs", "leases", "roles", "rolebindings", "serviceaccounts")
} | {"DELETE-networkpolicies"}
#: The name of one trial.
_TRIAL = re.compile(r"[\w-]+/\w+/[\w-]+@([A-Z]+-[a-z]+(-[A-Za-z]+)?(~\d+)?|\d+)")


@dataclasses.dataclass(frozen=True, order=True)
class Life:
    """A scenario on one kind of cluster."""

    scenario: str
    kind: str

    def __str__(self) -> str:
        return f"{self.scenario}/{self.kind}"


LIVES = tuple(Life(scenario, kind) for scenario in SCENARIOS for kind in KINDS)


@dataclasses.dataclass(frozen=True)
class Planned:
    """One trial to run."""

    life: Life
    fault: Fault

    def __str__(self) -> str:
        return f"{self.life}/{self.fault}"


@dataclasses.dataclass(frozen=True)
class Call:
    """A write by what the operator does. Two writes with equal calls are made by the same code in the same state.

    Attributes:
        kind: of cluster.
        state: the phase that the operator wrote last of the run, of the shared cluster or of both, and whether it
            sweeps up after an owner that its user deleted.
        target: what is written, as `target_of` names it.
        about: of a status, its phase and reason; of an Event, its reason.
        ordinal: of a call that is repeated in that state, 1 for the first time and 2 for all others.
        start: 1 until the run has started for the first time; 2 after that, when a run starts again.
    """

    kind: str
    state: str
    target: str
    about: str
    ordinal: int
    start: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """All faults at all writes of lives, in the order in which they are tried.

    Attributes:
        first: each fault at each call of a first start and of all that follows it, in the first life that has the call.
        again: the same of runs that start again.
        rest: each fault at a call that `first` or `again` has in another life.
    """

    first: tuple[Planned, ...]
    again: tuple[Planned, ...]
    rest: tuple[Planned, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.first)} faults at calls of first starts and of all that follows them, "
            f"{len(self.again)} at calls of later starts, {len(self.rest)} at calls that another life has"
        )

    def all(self) -> list[Planned]:
        """Return all of them."""
        return [*self.first, *self.again, *self.rest]


def plan(references: dict[Life, Result], seed: int) -> Plan:
    """Return every fault at every write of every life. The seed fixes the order within the groups.

    A Kubernetes Event follows a status in the same pass, and the operator reads none that it wrote. So what happens at
    the moment of an Event happens at that of the status, and all refusals of an Event are logged in the same way: for
    Events, `first` has the faults of `_AT_EVENTS` only.
    """
    known: set[tuple[Call, FaultKind, int]] = set()
    first: list[Planned] = []
    again: list[Planned] = []
    rest: list[Planned] = []
    for life, reference in references.items():
        for call, fault in _faults(life, reference):
            planned, what = Planned(life, fault), (call, fault.kind, fault.status)
            is_like_another = call.target.startswith("POST-events") and (fault.kind, fault.status) not in _AT_EVENTS
            if is_like_another or what in known:
                rest.append(planned)
                continue
            known.add(what)
            (first if call.start == 1 else again).append(planned)
    shuffle = random.Random(seed).shuffle
    for group in (first, again, rest):
        shuffle(group)
    return Plan(tuple(first), tuple(again), tuple(rest))


def calls(life: Life, reference: Result) -> list[Call]:
    """Return the call of each write of a life."""
    found: list[Call] = []
    phases: dict[str, str] = {}
    starts: Counter[str] = Counter()
    counted: Counter[tuple[str, str]] = Counter()
    for write in reference.writes:
        before = dict(phases)
        if write.target.startswith("PUT-status"):
            owners = write.path.split("/")[-3]
            phases[owners] = write.about.partition(" ")[0]
            starts[owners] += phases[owners] == "Starting" != before.get(owners)
        is_sweep = write.target in _SWEPT and any(phase in _LIVE for phase in before.values())
        state = " and ".join(before.values()) + (", deleted" if is_sweep else "")
        if before != phases:
            counted.clear()
        counted[write.target, write.about] += 1
        ordinal = min(counted[write.target, write.about], 2)
        found.append(Call(life.kind, state, write.target, write.about, ordinal, min(max([1, *starts.values()]), 2)))
    return found


def _faults(life: Life, reference: Result) -> Iterator[tuple[Call, Fault]]:
    counted: Counter[str] = Counter()
    for write, call in zip(reference.writes, calls(life, reference), strict=True):
        target = write.target
        counted[target] += 1
        for kind in _AT_WRITES:
            yield call, Fault(kind, counted[target], target=target)
        if target.startswith("DELETE"):
            yield call, Fault(FaultKind.STALE_LISTS, counted[target], target=target)
        for status in REASONS:
            yield call, Fault(FaultKind.REFUSE, counted[target], status, target)


def chosen_lives(patterns: Sequence[str]) -> list[Life]:
    """Return the lives that patterns such as ``success/*`` or ``*/Dask/away@POST-jobs`` name. Raises ValueError."""
    if not patterns:
        return list(LIVES)
    wanted = ["/".join(pattern.split("/")[:2]) for pattern in patterns]
    found = [life for life in LIVES if any(fnmatch.fnmatch(str(life), pattern) for pattern in wanted)]
    if not found:
        raise ValueError(f"no life is named so; there are {', '.join(map(str, LIVES))}")
    return found


def named(trial: str) -> Planned:
    """Return the trial of that name, such as ``success/Dask/kill-after@POST-jobs``. Raises ValueError."""
    scenario, kind, fault = trial.split("/")
    return Planned(Life(scenario, kind), Fault.parse(fault))


def chosen_trials(patterns: Sequence[str], everything: Iterable[Planned]) -> list[Planned]:
    """Return the trials that the patterns name: those of whole lives, and single ones."""
    if not patterns:
        return list(everything)
    whole = [pattern if pattern.count("/") == 2 else f"{pattern}/*" for pattern in patterns]
    singles = [named(pattern) for pattern in whole if _TRIAL.fullmatch(pattern)]
    found = [one for one in everything if any(fnmatch.fnmatch(str(one), pattern) for pattern in whole)]
    return [*singles, *(one for one in found if one not in singles)]

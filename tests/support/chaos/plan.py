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
from tests.support.rig.faults import REASONS, Fault, FaultKind, target_of

#: Faults at each write, besides refusals.
_AT_WRITES = (
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.DROP_ANSWER,
    FaultKind.CUT_WATCHES,
    FaultKind.FREEZE_WATCHES,
    FaultKind.AWAY,
)
#: The name of one trial.
_TRIAL = re.compile(r"[\w-]+/\w+/[\w-]+@([A-Z]+-[a-z]+(~\d+)?|\d+)")


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


def plan(references: dict[Life, Result], seed: int) -> list[Planned]:
    """Return every fault at every write of every life.

    There are several thousand, and an hour on two CPUs has room for about 1,300. Lives have most of their writes in
    common, so each fault at each write comes first in the first life that has this write: these trials come before all
    others. So that more of them fit into the hour, a refusal of a Kubernetes Event is one of them with one status only:
    the operator logs all of them in the same way. The seed fixes the order within the two groups, so that the first
    trials of two runs are the same ones.
    """
    first: dict[tuple[str, Fault], Planned] = {}
    rest = []
    for life, reference in references.items():
        for fault in _faults(reference):
            planned = Planned(life, fault)
            is_like_another = fault.target == "POST-events" and fault.status not in (0, 500)
            if is_like_another or first.setdefault((life.kind, fault), planned) is not planned:
                rest.append(planned)
    chosen, shuffle = list(first.values()), random.Random(seed).shuffle
    shuffle(chosen)
    shuffle(rest)
    return chosen + rest


def _faults(reference: Result) -> Iterator[Fault]:
    counted: Counter[str] = Counter()
    for write in reference.writes:
        target = target_of(*write.split())
        counted[target] += 1
        for kind in _AT_WRITES:
            yield Fault(kind, counted[target], target=target)
        if target.startswith("DELETE"):
            yield Fault(FaultKind.STALE_LISTS, counted[target], target=target)
        for status in REASONS:
            yield Fault(FaultKind.REFUSE, counted[target], status, target)


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

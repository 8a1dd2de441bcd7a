"""Which faults are injected into which lives: all of them, in an order that a seed fixes."""

from __future__ import annotations

import dataclasses
import fnmatch
import random
from collections.abc import Iterable, Sequence

from tests.support.chaos.scenarios import KINDS, SCENARIOS
from tests.support.chaos.trial import Result
from tests.support.rig.faults import REASONS, Fault, FaultKind

#: Faults at each write, besides kills after it and refusals.
_AT_WRITES = (
    FaultKind.KILL_BEFORE,
    FaultKind.DROP_ANSWER,
    FaultKind.CUT_WATCHES,
    FaultKind.FREEZE_WATCHES,
    FaultKind.AWAY,
)


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

    There are more than an hour has room for. Every second trial is a kill after a write or a stale listing after a
    DELETE, until all of these are used up. The seed fixes the order, so that the first trials of two runs are the same
    ones.
    """
    first, rest = [], []
    for life, reference in references.items():
        numbers = range(1, len(reference.writes) + 1)
        deletes = sum(write.startswith("DELETE") for write in reference.writes)
        first += [Planned(life, Fault(FaultKind.KILL_AFTER, number)) for number in numbers]
        first += [Planned(life, Fault(FaultKind.STALE_LISTS, number)) for number in range(1, deletes + 1)]
        rest += [Planned(life, Fault(kind, number)) for kind in _AT_WRITES for number in numbers]
        rest += [Planned(life, Fault(FaultKind.REFUSE, number, status)) for status in REASONS for number in numbers]
    shuffle = random.Random(seed).shuffle
    shuffle(first)
    shuffle(rest)
    pairs = zip(first, rest, strict=False)
    together = min(len(first), len(rest))
    return [one for pair in pairs for one in pair] + first[together:] + rest[together:]


def chosen_lives(patterns: Sequence[str]) -> list[Life]:
    """Return the lives that patterns such as ``success/*`` or ``*/Dask/kill-after@3`` name. Raises ValueError."""
    if not patterns:
        return list(LIVES)
    wanted = ["/".join(pattern.split("/")[:2]) for pattern in patterns]
    found = [life for life in LIVES if any(fnmatch.fnmatch(str(life), pattern) for pattern in wanted)]
    if not found:
        raise ValueError(f"no life is named so; there are {', '.join(map(str, LIVES))}")
    return found


def chosen_trials(patterns: Sequence[str], everything: Iterable[Planned]) -> list[Planned]:
    """Return the trials that the patterns name: those of whole lives, and single ones."""
    if not patterns:
        return list(everything)
    whole = [pattern if pattern.count("/") == 2 else f"{pattern}/*" for pattern in patterns]
    return [one for one in everything if any(fnmatch.fnmatch(str(one), pattern) for pattern in whole)]

"""The plan of trials: all faults in all lives, in an order that a seed determines."""

from __future__ import annotations

import dataclasses
import fnmatch
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.support.chaos.classes import Call, CallFinder, Classes, alone, calls
from tests.support.chaos.life import Result
from tests.support.chaos.scenarios import KINDS, SCENARIOS, is_exact
from tests.support.rig.faults import GROUPS, Fault

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
    """One trial to run.

    Attributes:
        life: the scenario, on a kind of cluster.
        fault: the fault to inject.
        call: at which call; None where the fault itself names the write.
        number: at which of the writes with that call, from 1.
    """

    life: Life
    fault: Fault
    call: Call | None = dataclasses.field(default=None, compare=False)
    number: int = dataclasses.field(default=1, compare=False)

    def finder(self) -> CallFinder | None:
        """Return what finds the write at which the fault happens; None where the fault itself names it."""
        return CallFinder(self.life.scenario, self.call, self.number) if self.call is not None else None

    def __str__(self) -> str:
        return f"{self.life}/{self.fault}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """All faults at all writes of lives, in the order in which they are tried.

    Attributes:
        unlike: one trial of each equivalence class, which `make chaos` runs.
        rest: all others.
    """

    unlike: tuple[Planned, ...]
    rest: tuple[Planned, ...]

    def __str__(self) -> str:
        return f"{len(self.unlike)} trials, one of each class, {len(self.rest)} others"

    def all(self) -> list[Planned]:
        """Return all of them."""
        return [*self.unlike, *self.rest]


def plan(references: dict[Life, Result], seed: int) -> Plan:
    """Return every fault at every write of every life.

    The first life of each equivalence class has the trial that is run. Lives with an exact number of objects are
    the first: their verdict is stricter.

    Args:
        references: the undisturbed trials of the lives, the shorter lives first.
        seed: determines the order within both parts, and the status that is tried among equivalent refusals.
    """
    classes = Classes(seed)
    unlike: list[Planned] = []
    rest: list[Planned] = []
    for life in sorted(references, key=lambda life: not is_exact(life.scenario)):
        writes, counted, equal = references[life].writes, Counter[str](), Counter[Call]()
        for write, call in zip(writes, calls(life.scenario, life.kind, writes), strict=True):
            counted.update(target for target in (write.target, *GROUPS) if Fault(target=target).is_at(write.target))
            equal[alone(call)] += 1
            for kind, status, is_new in classes.faults(call):
                fault = Fault(kind, counted[call.target], status, call.target)
                planned = Planned(life, fault, call, equal[alone(call)])
                (unlike if is_new else rest).append(planned)
    late = {one for one in rest if one.call and one.fault.status and classes.is_untried(one.call, one.fault.status)}
    unlike += [one for one in rest if one in late]
    rest = [one for one in rest if one not in late]
    shuffle = random.Random(seed).shuffle
    for group in (unlike, rest):
        shuffle(group)
    return Plan(tuple(unlike), tuple(rest))


def chosen_lives(patterns: Sequence[str]) -> list[Life]:
    """Return the lives that patterns such as ``success/*`` or ``*/Dask/away@POST-jobs`` name. Raises ValueError."""
    if not patterns:
        return list(LIVES)
    wanted = ["/".join(pattern.split("/")[:2]) for pattern in patterns]
    found = [life for life in LIVES if any(fnmatch.fnmatch(str(life), pattern) for pattern in wanted)]
    if not found:
        raise ValueError(f"no life has this name; there are {', '.join(map(str, LIVES))}")
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

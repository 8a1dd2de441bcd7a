"""What a run of trials prints: one line for each trial, and a table at the end."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.support.chaos.life import Result

_SHOWN_NAMES = 4


@dataclasses.dataclass(frozen=True)
class Judged:
    """A trial and its verdict.

    Attributes:
        result: what the API server showed.
        problems: the errors.
        is_reached: whether the fault happened: a life that makes fewer writes than its reference is not disturbed.
    """

    result: Result
    problems: tuple[str, ...]
    is_reached: bool = True

    @property
    def word(self) -> str:
        """The verdict."""
        return "FAILED" if self.problems else "passed" if self.is_reached else "missed"

    def text(self) -> str:
        """Return all that is known of the trial, for a failed test or a user."""
        lines = [f"{self.result.name}: {self.word} after {self.result.seconds:.0f} s"]
        lines += [f"  at {self.result.hit}"] if self.result.hit is not None else []
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


def table(judged: Sequence[Judged], planned: int) -> str:
    """Return the closing table: verdicts by life and by fault, and failures by error."""
    lines = ["", f"{'':36}{'passed':>8}{'failed':>8}{'missed':>8}"]
    by_life: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_fault: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in judged:
        by_life[f"{one.result.scenario}/{one.result.kind}"][one.word] += 1
        by_fault[str(one.result.fault).partition("@")[0]][one.word] += 1
    for rows in (by_life, by_fault):
        lines += [_row(name, rows[name]) for name in sorted(rows)]
        lines.append("")
    lines.append(_row("all", Counter(one.word for one in judged)))
    late = [one.result for one in judged if one.result.late]
    counted = sum((one.late for one in late), Counter[str]())
    if late:
        lines.append(f"made by late controllers in {len(late)} trials: {dict(sorted(counted.items()))}")
    if len(judged) < planned:
        lines.append(f"{planned - len(judged)} of {planned} planned trials were not run: the time was over")
    return "\n".join([*lines, "", *_failures(judged)])


def _row(name: str, counts: Counter[str]) -> str:
    return f"{name:36}{counts['passed']:8}{counts['FAILED']:8}{counts['missed']:8}"


def _failures(judged: Sequence[Judged]) -> list[str]:
    """Group the failures by their first sentence: one bug shows in many trials."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for one in judged:
        for problem in one.problems:
            if not problem.startswith("status:"):
                groups[_signature(problem)].append(one.result.name)
    lines = ["errors, and their trials:"] if groups else []
    for signature, names in sorted(groups.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        lines.append(f"{len(names):5}  {signature}\n         {', '.join(names[:_SHOWN_NAMES])}{more}")
    return lines


def _signature(problem: str) -> str:
    """A problem without the parts of names that differ from trial to trial."""
    return re.sub(r"-[0-9a-f]{6,}[-0-9a-z]*", "-…", problem)[:160]

"""The verdict over a trial: its end, what is left and what was created, compared with the same life undisturbed."""

from __future__ import annotations

from collections import Counter

from tests.support.chaos.scenarios import is_exact, needed_pods
from tests.support.chaos.trial import STUCK, Result

#: Writes that a fault may cause, as a multiple of those of the undisturbed life, and on top of that. A fault of 30 s
#: that is answered by retries with backoff causes about ten.
_TIMES, _MORE = 2, 15
#: Kinds that are created beside the driver. The played driver needs none of them, and can end before they exist.
_LATE = ("Role ", "RoleBinding ", "NetworkPolicy ")


def judge(result: Result, reference: Result) -> list[str]:
    """Return what is wrong with a disturbed trial, one sentence each; empty when nothing is.

    No fault is a reason to create an object twice: the name of each child is fixed for its run. A fault is a reason to
    write again, but not for ever.
    """
    found = [*result.problems, *_left(result)]
    if any(problem.startswith(STUCK) for problem in result.problems):
        return found  # the rest follows from that
    if result.end != reference.end:
        found += [
            f"end: {name} is {result.end.get(name, 'absent')}, undisturbed {reference.end.get(name, 'absent')}"
            for name in sorted({*result.end, *reference.end})
            if result.end.get(name) != reference.end.get(name)
        ]
    if len(result.writes) > _TIMES * len(reference.writes) + _MORE:
        found.append(f"writes: {len(result.writes)}, undisturbed {len(reference.writes)}")
    if is_exact(result.scenario):
        found += _differences("created", result.created, reference.created)
        found += _differences("deleted", result.deleted, reference.deleted)
    else:
        found += _surplus(result)
    return found


def judge_reference(result: Result) -> list[str]:
    """Return what is wrong with an undisturbed trial: more pods than the life needs are an error in themselves."""
    return [*result.problems, *_left(result), *_surplus(result)]


def _left(result: Result) -> list[str]:
    return [f"left: {', '.join(result.left)}"] if result.left else []


def _surplus(result: Result) -> list[str]:
    needed = needed_pods(result.scenario, result.kind)
    return [
        f"created: {number} {label}, the run needs {needed.get(label, 0)}"
        for label, number in sorted(result.created.items())
        if label.startswith("Pod ") and number > needed.get(label, 0)
    ]


def _differences(verb: str, found: Counter[str], expected: Counter[str]) -> list[str]:
    return [
        f"{verb}: {found[label]} {label}, undisturbed {expected[label]}"
        for label in sorted({*found, *expected})
        if found[label] != expected[label] and not (label.startswith(_LATE) and found[label] < expected[label])
    ]

"""The verdict over a trial: its end, what is left and what was created, compared with the same life undisturbed."""

from __future__ import annotations

from collections import Counter

from tests.support.chaos.life import STUCK, Result
from tests.support.chaos.scenarios import expected_end, is_exact, needed_pods
from tests.support.rig.faults import Fault, FaultKind

#: Writes that a fault may cause, as a multiple of those of the undisturbed life, and on top of that. A fault of 30 s
#: that is answered by retries with backoff causes about ten.
_TIMES, _MORE = 2, 15
#: Kinds that are created beside the driver. The played driver needs none of them, and can end before they exist.
_LATE = ("Role ", "RoleBinding ", "NetworkPolicy ")
#: Kinds whose objects the API server names, and which the operator cannot read (ADR 0006).
_UNREADABLE = ("Secret ", "ConfigMap ")
#: Faults that lose the API server's answer, or what the operator remembers of it.
_FORGETTING = (
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.DROP_ANSWER,
    FaultKind.STALE_LISTS,
    FaultKind.AWAY,
)


def judge(result: Result, reference: Result) -> list[str]:
    """Return what is wrong with a disturbed trial, one sentence each; empty when nothing is.

    No fault is a reason to create an object twice: the name of each child is fixed for its run. The exceptions are
    Secret and ConfigMap, whose names the API server chooses: where its answer is lost, one more is created. A fault is
    a reason to write again, but not for ever.
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
        found += _differences("created", result.created, reference.created, result.fault)
        found += _differences("deleted", result.deleted, reference.deleted, result.fault)
    else:
        found += _surplus(result)
    return found


def judge_reference(result: Result) -> list[str]:
    """Return what is wrong with an undisturbed trial: another end than that of its life, more pods than it needs."""
    found = [*result.problems, *_left(result), *_surplus(result)]
    if any(problem.startswith(STUCK) for problem in result.problems):
        return found
    expected = expected_end(result.scenario)
    end = {name: result.end.get(name, "absent") for name in expected}
    return [
        *found,
        *(f"end: {name} is {end[name]}, not {word}" for name, word in expected.items() if end[name] != word),
    ]


def _left(result: Result) -> list[str]:
    return [f"left: {', '.join(result.left)}"] if result.left else []


def _surplus(result: Result) -> list[str]:
    needed = needed_pods(result.scenario, result.kind)
    return [
        f"created: {number} {label}, the run needs {needed.get(label, 0)}"
        for label, number in sorted(result.created.items())
        if label.startswith("Pod ") and number > needed.get(label, 0)
    ]


def _differences(verb: str, found: Counter[str], expected: Counter[str], fault: Fault) -> list[str]:
    return [
        f"{verb}: {found[label]} {label}, undisturbed {expected[label]}"
        for label in sorted({*found, *expected})
        if found[label] != expected[label] and not _is_excused(label, found[label] - expected[label], fault)
    ]


def _is_excused(label: str, more: int, fault: Fault) -> bool:
    """Whether a difference in the number of objects follows from what is played, or from a decision."""
    if more < 0:
        return label.startswith(_LATE)
    return more == 1 and label.startswith(_UNREADABLE) and fault.kind in _FORGETTING

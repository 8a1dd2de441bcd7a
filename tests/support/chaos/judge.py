"""The verdict on a trial: its end, what is left and what was created, compared with the same life without a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.support.chaos.life import STUCK, Result
from tests.support.chaos.scenarios import expected_end, is_exact, needed_pods
from tests.support.rig.faults import FaultKind
from tests.support.rig.writes import Write

#: Writes that a fault may cause, as a multiple of those of the undisturbed life, and on top of that. A fault of 30 s
#: that is answered by retries with backoff causes about ten.
_TIMES, _MORE = 2, 15
#: Kinds whose objects the API server names, and which the operator cannot read (ADR 0006): by their creation, with the
#: creations of objects whose templates name them. From these on, an operator that is started again finds the name.
_UNREADABLE = {
    "POST-secrets": ("Secret", {"POST-daskclusters", "POST-rayclusters", "POST-jobs"}),
    "POST-configmaps": ("ConfigMap", {"POST-jobs"}),
}
#: Kinds of which a run has one at a time, at whatever moment its user deletes it.
_SINGLE = ("Lease", "Secret", "ConfigMap", "DaskCluster", "RayCluster", "Job", "ServiceAccount", "Role", "RoleBinding")


def judge(result: Result, reference: Result) -> list[str]:
    """Return the errors of a trial with a fault, one sentence each.

    No fault is a reason to create an object twice: the name of each child is fixed for its start. The exceptions are
    those that `spare` counts. A fault is a reason to repeat a write, but not for ever.
    """
    found = [*result.problems, *_left(result), *_late(result)]
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
        found += _differences("created", result.created, reference.created, spare(result))
        found += _differences("deleted", result.deleted, reference.deleted, spare(result))
    else:
        found += [*_surplus(result), *_second(result)]
    return found


def judge_reference(result: Result) -> list[str]:
    """Return the errors of a trial without a fault: another end than that of its life, or more pods than it needs."""
    found = [*result.problems, *_left(result), *_late(result), *_surplus(result), *_second(result)]
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
    return [f"created: {excess}" for excess in _beyond_need(result, result.created, "")]


def _late(result: Result) -> list[str]:
    """Return the excess of late pods: a late controller can create each needed pod once more, but not repeatedly."""
    return [f"late: {excess}" for excess in _beyond_need(result, result.late, " for owners that were being deleted")]


def _beyond_need(result: Result, found: Mapping[str, int], where: str) -> list[str]:
    """Return a sentence for each kind of pod of which there were more than the run needs."""
    needed = needed_pods(result.scenario, result.kind)
    return [
        f"{number} {label}{where}, the run needs {needed.get(label, 0)}"
        for label, number in sorted(found.items())
        if label.startswith("Pod ") and number > needed.get(label, 0)
    ]


def _second(result: Result) -> list[str]:
    """Return the second pods of a life whose user deletes the run early: its other numbers depend on timing."""
    if is_exact(result.scenario):
        return []
    spares = spare(result)
    return [
        f"created: {number} {label}, the run has one at a time"
        for label, number in sorted(result.created.items())
        if (kind := label.partition(" ")[0]) in _SINGLE and number > 1 + spares[kind]
    ]


def _differences(verb: str, found: Counter[str], expected: Counter[str], spares: Counter[str]) -> list[str]:
    return [
        f"{verb}: {found[label]} {label}, undisturbed {expected[label]}"
        for label in sorted({*found, *expected})
        if not 0 <= found[label] - expected[label] <= spares[label.partition(" ")[0]]
    ]


def spare(result: Result) -> Counter[str]:
    """Count the Secrets and ConfigMaps that the operator has to create once more, by kind.

    It cannot look for one that it created, so it creates another one in two cases only: the answer to the creation was
    lost; or it was killed after that, and started again before an object named what it had created.
    """
    spares: Counter[str] = Counter()
    made: dict[str, Write] = {}
    for write in result.writes:
        if write.status >= 400 or (write == result.hit and result.fault.kind is FaultKind.KILL_BEFORE):
            continue  # not carried out
        if write.target == "POST-leases":
            made.clear()  # a start, and what it creates
        for creation in [name for name, (_kind, namers) in _UNREADABLE.items() if write.target in namers]:
            made.pop(creation, None)
        if write.target in _UNREADABLE:
            earlier = made.get(write.target)
            is_lost = earlier == result.hit and result.fault.kind is FaultKind.DROP_ANSWER
            if earlier is not None and (is_lost or earlier.process != write.process):
                spares[_UNREADABLE[write.target][0]] += 1
            made[write.target] = write
    return spares

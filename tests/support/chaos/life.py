"""One trial: one operator, one bystander, one run whose life a scenario plays, and one fault."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import time
from collections import Counter
from collections.abc import Callable

from flowcluster_api import names
from tests.support.chaos.trial import BYSTANDER, STRANGER, SUBJECT, StepFailed, Trial, is_of
from tests.support.rig.client import ApiError, Body
from tests.support.rig.faults import UNDISTURBED, Fault
from tests.support.rig.kinds import SERVICE
from tests.support.rig.ledger import Entry, View
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig

_TRACEBACK = "Traceback (most recent call last)"
#: How the sentence begins on a step that did not come true.
STUCK = "stuck"
#: Seconds without a write of the operator after which the run counts as settled.
QUIET_SECONDS = 1.5


@dataclasses.dataclass(frozen=True)
class Result:
    """What the API server shows of one trial.

    Attributes:
        scenario: its name.
        kind: ``Dask`` or ``Ray``.
        fault: what happened on the way.
        hit: the write at which it happened; empty when the operator made no such write.
        end: phase, reason, attempts and conditions of the record; empty when there is none.
        left: what was left besides the record.
        created: number of objects that were created, by kind and component.
        deleted: number of objects that were deleted, likewise.
        writes: the operator's writes for the run: method and path.
        problems: what is wrong without any comparison.
        seconds: how long it took.
    """

    scenario: str
    kind: str
    fault: Fault
    hit: str = ""
    end: dict[str, str] = dataclasses.field(default_factory=dict)
    left: tuple[str, ...] = ()
    created: Counter[str] = dataclasses.field(default_factory=Counter)
    deleted: Counter[str] = dataclasses.field(default_factory=Counter)
    writes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Scenario, kind of cluster and fault: what a test or a command line names."""
        return f"{self.scenario}/{self.kind}/{self.fault}"


#: Conditions that are compared. The others record how much of a run's course the operator has seen.
_COMPARED = ("Accepted", "Finished", "ClusterDeleted", "Ready", "Stalled", "Reconciling")


def run_trial(
    rig: Rig,
    scenario: str,
    kind: str,
    play: Callable[[Trial], None],
    fault: Fault = UNDISTURBED,
    tree: pathlib.Path | None = None,
) -> Result:
    """Play one scenario with one fault and return what came of it.

    Args:
        rig: the rig.
        scenario: its name.
        kind: ``Dask`` or ``Ray``.
        play: the scenario.
        fault: what happens on the way.
        tree: the checkout whose operator is tried; None for this one.
    """
    began = time.monotonic()
    view = rig.create_namespace(f"{scenario}-{kind}")
    problems: list[str] = []
    try:
        with RigOperator(rig, view.namespace, tree=tree) as operator:
            trial = Trial(rig, kind, fault, view)
            problems = _play(trial, operator, play)
            writes = tuple(f"{write.method} {write.path}" for write in operator.proxy.numbered())
            hit = str(operator.proxy.hit) if operator.proxy.hit is not None else ""
            problems += _output_problems(operator)
            problems += order_problems(view.counted())
            operator.keep("writes", [f"{write.at:.2f} {write}" for write in operator.proxy.writes])
            operator.keep("objects", view.history())
        rig.check()

        def of_subject(entry: Entry) -> bool:
            return is_of(entry, SUBJECT) and entry.kind != names.KIND

        return Result(
            scenario,
            kind,
            fault,
            hit,
            end=_end(view),
            left=tuple(sorted(str(entry) for entry in trial.children())),
            created=view.created(of_subject),
            deleted=view.deleted(of_subject),
            writes=writes,
            problems=tuple(problems),
            seconds=time.monotonic() - began,
        )
    finally:
        rig.empty_namespace(view.namespace)
        rig.ledger.forget(view.namespace)


def _play(trial: Trial, operator: RigOperator, play: Callable[[Trial], None]) -> list[str]:
    """Play the scenario beside a bystander; return what went wrong."""
    problems: list[str] = []
    try:
        trial.create(BYSTANDER, workers={"minimum": 1, "maximum": 1})
        trial.wait_phase("Running", name=BYSTANDER)
        trial.wait(lambda: _is_quiet(operator), "the operator has nothing to do", 20)
    except StepFailed as error:
        return [f"bystander: does not start: {error}", f"status: {_words(trial.view.status(BYSTANDER))}"]
    before = _children(trial, BYSTANDER)
    operator.arm(trial.fault, SUBJECT)
    try:
        play(trial)
        trial.wait(lambda: _is_quiet(operator), "the operator's writes end", 20)
    except (StepFailed, ApiError) as error:
        problems.append(f"{STUCK}: {error}")
        problems.append(f"status: {_words(trial.view.status(SUBJECT))}")
    operator.disarm()
    phase = trial.view.status(BYSTANDER).get("phase")
    if phase != "Running":
        problems.append(f"bystander: is {phase}, not Running")
    problems += [
        f"stranger: {entry} was deleted, which has labels of the run and is not the run's"
        for entry in trial.view.entries(SERVICE, gone=True)
        if entry.name.startswith(f"{STRANGER}-") and entry.is_gone
    ]
    if (after := _children(trial, BYSTANDER)) != before:
        changed = sorted(before.symmetric_difference(after))
        problems.append(f"bystander: objects changed: {', '.join(name for name, _uid in changed)}")
    return problems


def _children(trial: Trial, name: str) -> set[tuple[str, str]]:
    return {(str(entry), entry.uid) for entry in trial.children(name)}


def _is_quiet(operator: RigOperator) -> bool:
    writes = operator.proxy.writes
    return not writes or time.monotonic() - writes[-1].at >= QUIET_SECONDS


def _output_problems(operator: RigOperator) -> list[str]:
    log = operator.log()
    problems = []
    if tracebacks := log.count(_TRACEBACK):
        lines = log.partition(_TRACEBACK)[2].splitlines()
        error = next(
            (line.strip(" |") for line in lines if re.match(r"[ |]*[\w.]+(Error|Exception|Group)\b", line)), ""
        )
        problems.append(f"output: {tracebacks} traceback(s), the first one ends with: {error}")
    ends = Counter(operator.unexpected)
    problems += [f"output: the operator ended by itself {n} times with exit code {code}" for code, n in ends.items()]
    return problems


#: What must be gone when the status says that nothing is left. A Secret is deleted after its Lease.
_VERIFIED = ("Pod", "Job", "Lease", "DaskCluster", "RayCluster")


def order_problems(entries: list[Entry]) -> list[str]:
    """Return what was written too early: a child before the status, or an end before the end of what it is about."""
    problems = []
    for run in entries:
        if run.kind != names.KIND or run.name != SUBJECT:
            continue
        for entry in entries:
            labels = entry.body["metadata"].get("labels") or {}
            if labels.get(names.LABEL_RUN_UID) != run.uid or entry.name.startswith(f"{STRANGER}-"):
                continue
            if not run.started or entry.since < run.started:
                problems.append(f"order: {entry.label} was created before the status had a phase")
            if run.emptied and entry.kind in _VERIFIED and (not entry.is_gone or entry.version > run.emptied):
                problems.append(f"order: {entry.label} was there when the status said that nothing is left")
    return problems


def _end(view: View) -> dict[str, str]:
    status = view.status(SUBJECT)
    if not status:
        return {}
    conditions = {item["type"]: f"{item['status']} ({item['reason']})" for item in status.get("conditions") or []}
    compared = {name: conditions.get(name, "absent") for name in _COMPARED}
    attempts = str((status.get("flow") or {}).get("attempts"))
    return {"phase": str(status.get("phase")), "reason": str(status.get("reason")), "attempts": attempts, **compared}


def _words(status: Body) -> str:
    return f"{status.get('phase')}, {status.get('reason')}: {status.get('message')}"

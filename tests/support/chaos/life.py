"""One trial: an operator, a bystander, a run or shared cluster whose life a scenario plays, and a fault."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence

from flowcluster_api import names
from tests.support.chaos.trial import BYSTANDER, STRANGER, SUBJECT, StepFailed, Trial
from tests.support.rig.client import ApiError, Body
from tests.support.rig.faults import UNDISTURBED, Fault
from tests.support.rig.kinds import OWNERS
from tests.support.rig.ledger import Entry, View
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig
from tests.support.rig.writes import Write

_TRACEBACK = "Traceback (most recent call last)"
#: Start of the sentence about a step that did not happen.
STUCK = "stuck"
#: Seconds without a write of the operator after which the run counts as settled.
QUIET_SECONDS = 1.5


@dataclasses.dataclass(frozen=True)
class Result:
    """What the API server shows of one trial.

    Attributes:
        scenario: its name.
        kind: ``Dask`` or ``Ray``.
        fault: the injected fault.
        hit: the write at which it happened; None when the operator made no such write.
        end: phase, reason, attempts and conditions of the record; empty when there is none.
        left: what was left besides the record.
        created: number of objects that were created, by kind and component.
        deleted: number of objects that were deleted, likewise.
        late: number of objects that late controllers made, which do not count (`View.late`).
        writes: the operator's writes for the run.
        problems: the errors without any comparison.
        seconds: how long it took.
    """

    scenario: str
    kind: str
    fault: Fault
    hit: Write | None = None
    end: dict[str, str] = dataclasses.field(default_factory=dict)
    left: tuple[str, ...] = ()
    created: Counter[str] = dataclasses.field(default_factory=Counter)
    deleted: Counter[str] = dataclasses.field(default_factory=Counter)
    late: Counter[str] = dataclasses.field(default_factory=Counter)
    writes: tuple[Write, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Scenario, kind of cluster and fault: what a test or a command line names."""
        return f"{self.scenario}/{self.kind}/{self.fault}"


_OWNER_KINDS = [kind.name for kind in OWNERS]
#: Conditions that are compared. The others record how much of a run's course the operator has seen.
_COMPARED = ("Accepted", "Finished", "ClusterDeleted", "Ready", "Stalled", "Reconciling")


class Place:
    """A namespace with an operator and a bystander, in which trials run one after the other.

    A trial that starts after a successful one needs no new operator and no new bystander: they are two thirds of
    its CPU time. The place of a failed trial is not used again.

    Args:
        rig: the rig.
        kind: of the bystander's cluster, and of those of the trials: ``Dask`` or ``Ray``.
        tree: the checkout whose operator is tried; None for this one.

    Attributes:
        kind: see above.
        is_usable: whether another trial can run here.
    """

    def __init__(self, rig: Rig, kind: str, tree: pathlib.Path | None = None) -> None:
        self.kind, self.is_usable = kind, True
        self._rig, self._view = rig, rig.create_namespace(f"place-{kind}")
        self._operator = RigOperator(rig, self._view.namespace, tree=tree)
        self._is_begun = False

    def close(self) -> None:
        """End the operator, and delete the runs."""
        if self._is_begun:
            self._operator.__exit__(None, None, None)
        self._rig.empty_namespace(self._view.namespace)
        self._rig.ledger.forget(self._view.namespace)

    def run(
        self,
        scenario: str,
        play: Callable[[Trial], None],
        fault: Fault = UNDISTURBED,
        at: Callable[[Write], bool] | None = None,
    ) -> Result:
        """Play one scenario with one fault and return the result.

        Args:
            scenario: its name.
            play: the scenario.
            fault: the fault to inject.
            at: at which write, as for `FaultProxy.arm`.
        """
        began, view, operator = time.monotonic(), self._view, self._operator
        trial = Trial(self._rig, self.kind, fault, view)
        self.is_usable, problems = False, self._begin(trial)
        operator.reset()
        if not problems:
            problems = _play(trial, operator, play, at)
        proxy = operator.proxy
        name = f"{scenario}-{fault}"
        operator.keep(f"{name}-writes", [f"{write.at:.2f} {write}" for write in proxy.writes])
        operator.keep(f"{name}-objects", view.history())
        self._rig.check()

        def of_subject(entry: Entry) -> bool:
            return trial.is_subject(entry) and entry.kind not in _OWNER_KINDS

        result = Result(
            scenario,
            self.kind,
            fault,
            hit=proxy.hit,
            end=_end(view),
            left=tuple(sorted(map(str, trial.left()))),
            created=view.created(of_subject),
            deleted=view.deleted(of_subject),
            late=Counter(entry.label for entry in view.late() if of_subject(entry)),
            writes=tuple(proxy.numbered()),
            problems=(*problems, *_output_problems(operator), *order_problems(trial.uids, view.counted())),
            seconds=time.monotonic() - began,
        )
        if result.problems or result.left:
            return result
        try:
            trial.clear()
        except StepFailed as error:
            return dataclasses.replace(result, problems=(f"{STUCK}: after the trial: {error}",))
        view.forget_gone()
        self.is_usable = True
        return result

    def _begin(self, trial: Trial) -> list[str]:
        """Start the operator and the bystander unless they run; return the errors."""
        if self._is_begun:
            return []
        self._is_begun = True
        self._operator.__enter__()
        try:
            trial.create(BYSTANDER, workers={"minimum": 1, "maximum": 1})
            trial.wait_phase("Running", name=BYSTANDER)
            trial.wait(lambda: self._operator.is_quiet(QUIET_SECONDS), "the operator has nothing to do", 40)
        except StepFailed as error:
            return [f"bystander: does not start: {error}", f"status: {_words(trial.view.status(BYSTANDER))}"]
        return []


def _play(
    trial: Trial, operator: RigOperator, play: Callable[[Trial], None], at: Callable[[Write], bool] | None
) -> list[str]:
    """Play the scenario beside a bystander; return the errors."""
    problems: list[str] = []
    before = _children(trial, BYSTANDER)
    operator.arm(trial.fault, SUBJECT, at)
    try:
        play(trial)
        trial.wait(lambda: operator.is_quiet(QUIET_SECONDS), "the operator's writes end", 40)
    except (StepFailed, ApiError) as error:
        problems.append(f"{STUCK}: {error}")
        problems += [f"operator: {unrest}"] if (unrest := operator.unrest(QUIET_SECONDS)) else []
        problems += [f"status: {_words(status)}" for kind in OWNERS if (status := trial.view.status(SUBJECT, kind))]
    operator.disarm()
    phase = trial.view.status(BYSTANDER).get("phase")
    if phase != "Running":
        problems.append(f"bystander: is {phase}, not Running")
    problems += [
        f"stranger: {entry} was deleted, which has labels of the run and is not the run's"
        for entry in trial.strangers()
        if entry.is_gone
    ]
    if (after := _children(trial, BYSTANDER)) != before:
        changed = sorted(before.symmetric_difference(after))
        problems.append(f"bystander: objects changed: {', '.join(name for name, _uid in changed)}")
    return problems


def _children(trial: Trial, name: str) -> set[tuple[str, str]]:
    return {(str(entry), entry.uid) for entry in trial.children(name)}


def _output_problems(operator: RigOperator) -> list[str]:
    log = operator.log()
    problems = []
    if tracebacks := log.count(_TRACEBACK):
        lines = log.partition(_TRACEBACK)[2].splitlines()
        error = next(
            (line.strip(" |") for line in lines if re.match(r"[ |]*[\w.]+(Error|Exception|Group)\b", line)), ""
        )
        problems.append(f"output: {tracebacks} traceback(s), the first one ends with: {error}")
    problems += [f"rights: the operator lacks one: {request}" for request in dict.fromkeys(operator.proxy.forbidden)]
    ends = Counter(operator.unexpected)
    problems += [f"output: the operator ended by itself {n} times with exit code {code}" for code, n in ends.items()]
    return problems


#: Kinds that must be gone when the status reports that nothing is left. A Secret is deleted after its Lease.
_VERIFIED = ("Pod", "Job", "Lease", "DaskCluster", "RayCluster")


def order_problems(uids: Sequence[str], entries: list[Entry]) -> list[str]:
    """Return what was written too early: a child before the status, or an end before the end of its subject."""
    problems = []
    for run in entries:
        if run.kind not in _OWNER_KINDS or run.uid not in uids:
            continue
        for entry in entries:
            labels = entry.body["metadata"].get("labels") or {}
            if labels.get(names.LABEL_RUN_UID) != run.uid or entry.name.startswith(f"{STRANGER}-"):
                continue
            if not run.started or entry.since < run.started:
                problems.append(f"order: {entry.label} was created before the status had a phase")
            if run.emptied and entry.kind in _VERIFIED and (not entry.is_gone or entry.version > run.emptied):
                problems.append(f"order: {entry.label} was there when the status reported that nothing is left")
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

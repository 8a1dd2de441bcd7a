"""No value of a FlowRun's field is ignored: the API server refuses it and names the field, or the status shows the run.

The tests also try random combinations, and edits of a live run, which are then reverted.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowcluster_api import names
from flowcluster_api.conditions import FINAL_PHASES
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from flowcluster_api.edits import EDITS, Edit
from tests.support.chaos import played
from tests.support.chaos.mutations import Mutation, combinations, leaves, single_mutations
from tests.support.chaos.trial import is_of
from tests.support.rig.client import ApiError, Body
from tests.support.rig.kinds import FLOW_RUN
from tests.support.rig.ledger import View
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]

_SEED = 20261126
#: Seconds in which an accepted value shows in the status.
_VISIBLE_SECONDS = 5.0
_AT_A_TIME = 4
_COMBINATIONS, _LONG_COMBINATIONS = 16, 64
_FIELDS = sorted(str(leaf) for leaf in leaves())
#: Values of each field in the sample; the tests marked long try all of them.
_VALUES = 2
#: Without this limit, a field with the largest number of workers makes hundreds of pods.
_SETTINGS = {"FLOWCLUSTER_MAX_WORKERS": "3"}
_VALID: Body = {
    "flow": {"entrypoint": "flows.py:flow"},
    "cluster": {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}},
}
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="done", exit_code=EXIT_COMPLETED)


class Gone(Exception):
    """The record of a run is gone."""


@dataclasses.dataclass
class Bench:
    """An operator with a run that no mutation concerns, the bystander, to try mutations on."""

    rig: Rig
    view: View
    operator: RigOperator
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    _count: int = 0

    def name(self) -> str:
        """Return a name for the next run."""
        with self._lock:
            self._count += 1
            return f"mutant-{self._count}-end"

    def create(self, name: str, spec: Body) -> None:
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}
        self.rig.client.create(FLOW_RUN.path(self.view.namespace), body)

    def running(self, name: str) -> str:
        """Return the name of a run that runs: this one, or a new one in its place."""
        if name and self.view.status(name).get("phase") in ("Starting", "Running"):
            return name
        if name:
            self.delete(name)
        name = self.name()
        self.create(name, _VALID)
        wait_until(lambda: self.view.status(name).get("phase") == "Running", f"{name} runs", 60)
        return name

    def replace(self, name: str, spec: Body) -> None:
        """Replace the spec of a run, as `kubectl replace` does. Raise ApiError when it is refused, and Gone."""
        path = FLOW_RUN.path(self.view.namespace, name)
        while True:
            found = self.rig.client.get(path)
            if found is None:
                raise Gone(name)
            try:
                self.rig.client.replace(path, {**found, "spec": spec})
                return
            except ApiError as error:
                if error.status != 409:  # the operator wrote the status in between
                    raise

    def delete(self, name: str) -> None:
        self.rig.client.delete(FLOW_RUN.path(self.view.namespace, name))

    def is_shown(self, name: str) -> bool:
        """Return whether the status of a run shows that the operator has processed its present spec."""
        run = self.rig.client.get(FLOW_RUN.path(self.view.namespace, name))
        if run is None:
            return True  # its ttl is over
        if "operatorClass" in run["spec"]:
            return "status" not in run  # there is no operator of that class, and no other one handles the run
        status = run.get("status") or {}
        if status.get("phase") in {"Stopping", *FINAL_PHASES}:
            return True  # an edit of a run that is over has no effect, and its end shows that
        return bool(status.get("phase")) and status.get("observedGeneration") == run["metadata"]["generation"]

    def problem(self, name: str, mutation: Mutation, error: ApiError | None) -> str:
        """Return the error in the answer to a mutation, or an empty text."""
        if error is not None:
            text = str(error.body.get("message"))
            return "" if mutation.is_named_in(text) else f"refused without naming the field: {text[:300]}"
        try:
            wait_until(lambda: self.is_shown(name), "the status shows it", _VISIBLE_SECONDS)
        except AssertionError:
            return f"silent: accepted, and after {_VISIBLE_SECONDS:g} s the status is {self.view.status(name)}"
        return ""

    def output_problem(self, name: str) -> str:
        """Return what the operator printed about a run as a bug of its own, or an empty text."""
        lines = [line for line in self.operator.log().splitlines() if f"/{name}:" in line and "bug" in line]
        return f"output: {lines[0]}" if lines else ""


@pytest.fixture(scope="module")
def bench(rig: Rig) -> Iterator[Bench]:
    view = rig.create_namespace("mutations")
    with RigOperator(rig, view.namespace, _SETTINGS) as operator:
        bench = Bench(rig, view, operator)
        bench.create("bystander", _VALID)
        wait_until(lambda: view.status("bystander").get("phase") == "Running", "the bystander runs", 60)
        yield bench
    rig.delete_namespace(view.namespace)


def tried(bench: Bench, mutations: list[Mutation]) -> dict[str, str]:
    """Create a run for each mutation and delete it. Return the errors by mutation."""

    def one(mutation: Mutation) -> tuple[str, str]:
        name, error = bench.name(), None
        try:
            bench.create(name, mutation.spec(_VALID))
        except ApiError as refused:
            error = refused
        problem = bench.problem(name, mutation, error)
        bench.delete(name)
        return str(mutation), problem or bench.output_problem(name)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return {mutation: problem for mutation, problem in pool.map(one, mutations) if problem}


def edited(bench: Bench, sequences: list[list[Mutation]]) -> dict[str, str]:
    """Edit one live run by each sequence of mutations, with a return to the valid spec after each.

    A run that has ended is replaced by a new one.

    Returns:
        The errors by mutation.
    """

    def one(sequence: list[Mutation]) -> dict[str, str]:
        problems, name = {}, ""
        for mutation in sequence:
            name = bench.running(name)
            problem = edit(name, mutation) or bench.output_problem(name)
            if problem:
                problems[str(mutation)] = problem
        bench.delete(name)
        return problems

    def edit(name: str, mutation: Mutation) -> str:
        error = None
        try:
            bench.replace(name, mutation.spec(_VALID))
        except Gone:
            return ""  # its ttl is over
        except ApiError as refused:
            error = refused
        problem = bench.problem(name, mutation, error)
        return taken_back(name, mutation) if not problem and error is None else problem

    def taken_back(name: str, mutation: Mutation) -> str:
        try:
            bench.replace(name, _VALID)
        except Gone:
            return ""
        except ApiError as refused:
            paths = {str(leaf).removeprefix("spec.") for leaf, _ in mutation.changes}
            can_only_be_raised = any(EDITS[path] is Edit.RAISED for path in paths)
            return "" if can_only_be_raised else f"the return to the valid spec is refused: {refused}"
        shown = bench.problem(name, mutation, None)
        return f"after the return to the valid spec: {shown}" if shown else ""

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return {mutation: problem for found in pool.map(one, sequences) for mutation, problem in found.items()}


def mutations_of(field: str) -> list[Mutation]:
    return [one for one in single_mutations(None, _SEED) if str(one.changes[0][0]) == field]


def parts(mutations: list[Mutation]) -> list[list[Mutation]]:
    """Return mutations as sequences that are tried at the same time."""
    return [mutations[first::_AT_A_TIME] for first in range(_AT_A_TIME)]


def words(problems: dict[str, str]) -> str:
    return "\n".join(f"{mutation}\n    {problem}" for mutation, problem in problems.items())


def test_some_values_of_each_field_are_refused_or_shown(bench: Bench) -> None:
    problems = tried(bench, single_mutations(_VALUES, _SEED))

    assert not problems, words(problems)


@pytest.mark.long
@pytest.mark.parametrize("field", _FIELDS)
def test_every_value_of_a_field_is_refused_or_shown(bench: Bench, field: str) -> None:
    problems = tried(bench, mutations_of(field))

    assert not problems, words(problems)


def test_combination_of_values_is_refused_or_shown(bench: Bench) -> None:
    problems = tried(bench, combinations(_COMBINATIONS, _SEED))

    assert not problems, words(problems)


def test_edit_of_a_live_run_is_refused_or_shown_and_can_be_reverted(bench: Bench) -> None:
    problems = edited(bench, [[mutation] for mutation in single_mutations(1, _SEED)])

    assert not problems, words(problems)


@pytest.mark.long
@pytest.mark.parametrize("field", _FIELDS)
def test_every_edit_of_a_field_is_refused_or_shown_and_can_be_reverted(bench: Bench, field: str) -> None:
    problems = edited(bench, parts(mutations_of(field)))

    assert not problems, words(problems)


@pytest.mark.long
def test_every_sequence_of_combinations_is_refused_or_shown(bench: Bench) -> None:
    problems = edited(bench, parts(combinations(_LONG_COMBINATIONS, _SEED + 1)))

    assert not problems, words(problems)


def test_bystander_finishes_and_nothing_of_the_others_is_left(bench: Bench) -> None:
    pods = [pod for pod in bench.view.pods("driver") if is_of(pod, "bystander")]
    played.end_pod(bench.rig.client, pods[0], _GOOD)
    wait_until(lambda: bench.view.status("bystander").get("phase") == "Succeeded", "the bystander succeeds", 60)
    wait_until(lambda: [e for e in bench.view.entries() if e.kind != names.KIND] == [], "nothing is left", 60)
    log = bench.operator.log()

    assert "Traceback" not in log, log.partition("Traceback")[2][:3000]
    assert bench.operator.unexpected == []

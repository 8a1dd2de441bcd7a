"""No value of a FlowRun's field is silent: the API server refuses it and names the field, or the status shows the run.

Also random combinations, and edits of a live run that are taken back.
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
_COMBINATIONS = 16
#: Values of each field in `make test`; all of them in `make test-all` and `make chaos`.
_VALUES = 2
#: Without this limit, a field with the largest number of workers makes hundreds of pods.
_SETTINGS = {"FLOWCLUSTER_MAX_WORKERS": "3"}
_VALID: Body = {
    "flow": {"entrypoint": "flows.py:flow"},
    "cluster": {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}},
}
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="done", exit_code=EXIT_COMPLETED)


@dataclasses.dataclass
class Bench:
    """An operator with a bystander, to try mutations on."""

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

    def replace(self, name: str, spec: Body) -> None:
        """Replace the spec of a run, as `kubectl replace` does. Raises ApiError when it is refused."""
        path = FLOW_RUN.path(self.view.namespace, name)
        while True:
            found = self.rig.client.get(path)
            assert found is not None, f"FlowRun {name} is gone"
            try:
                self.rig.client.replace(path, {**found, "spec": spec})
                return
            except ApiError as error:
                if error.status != 409:  # the operator wrote the status in between
                    raise

    def delete(self, name: str) -> None:
        self.rig.client.delete(FLOW_RUN.path(self.view.namespace, name))

    def is_shown(self, name: str) -> bool:
        """Whether the status of a run shows that the operator has taken in its present spec."""
        run = self.rig.client.get(FLOW_RUN.path(self.view.namespace, name))
        if run is None:
            return True  # its ttl is over
        status = run.get("status") or {}
        if status.get("phase") in {"Stopping", *FINAL_PHASES}:
            return True  # what a run that is over is edited to has no effect, and its end says so
        return bool(status.get("phase")) and status.get("observedGeneration") == run["metadata"]["generation"]

    def problem(self, name: str, mutation: Mutation, error: ApiError | None) -> str:
        """Return what is wrong with the answer to a mutation; empty when nothing is."""
        if error is not None:
            text = str(error.body.get("message"))
            return "" if mutation.is_named_in(text) else f"refused without naming the field: {text[:300]}"
        try:
            wait_until(lambda: self.is_shown(name), "the status shows it", _VISIBLE_SECONDS)
        except AssertionError:
            return f"silent: accepted, and after {_VISIBLE_SECONDS:g} s the status is {self.view.status(name)}"
        return ""

    def output_problem(self, name: str) -> str:
        """Return what the operator printed of a run as a bug of its own; empty when nothing."""
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
    """Create a run for each mutation and delete it; return what is wrong, by mutation."""

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


def edited(bench: Bench, mutations: list[Mutation]) -> dict[str, str]:
    """Edit live runs by each mutation and take the edit back; return what is wrong, by mutation."""

    def one(mutation: Mutation) -> tuple[str, str]:
        name, error = bench.name(), None
        bench.create(name, _VALID)
        wait_until(lambda: bench.view.status(name).get("phase") == "Running", f"{name} runs", 60)
        try:
            bench.replace(name, mutation.spec(_VALID))
        except ApiError as refused:
            error = refused
        problem = bench.problem(name, mutation, error)
        if not problem and error is None and bench.view.run(name) is not None:
            problem = taken_back(name, mutation)
        bench.delete(name)
        return str(mutation), problem or bench.output_problem(name)

    def taken_back(name: str, mutation: Mutation) -> str:
        try:
            bench.replace(name, _VALID)
        except ApiError as refused:
            paths = {str(leaf).removeprefix("spec.") for leaf, _ in mutation.changes}
            can_only_be_raised = any(EDITS[path] is Edit.RAISED for path in paths)
            return "" if can_only_be_raised else f"the return to the valid spec is refused: {refused}"
        except AssertionError:
            return ""  # the record is gone
        shown = bench.problem(name, mutation, None)
        return f"after the return to the valid spec: {shown}" if shown else ""

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return {mutation: problem for mutation, problem in pool.map(one, mutations) if problem}


def words(problems: dict[str, str]) -> str:
    return "\n".join(f"{mutation}\n    {problem}" for mutation, problem in problems.items())


def test_some_values_of_each_field_are_refused_or_shown(bench: Bench) -> None:
    problems = tried(bench, single_mutations(_VALUES, _SEED))

    assert not problems, words(problems)


@pytest.mark.long
@pytest.mark.parametrize("field", sorted(str(leaf) for leaf in leaves()))
def test_every_value_of_a_field_is_refused_or_shown(bench: Bench, field: str) -> None:
    mutations = [one for one in single_mutations(None, _SEED) if str(one.changes[0][0]) == field]
    problems = tried(bench, mutations)

    assert not problems, words(problems)


def test_combination_of_values_is_refused_or_shown(bench: Bench) -> None:
    problems = tried(bench, combinations(_COMBINATIONS, _SEED))

    assert not problems, words(problems)


def test_edit_of_a_live_run_is_refused_or_shown_and_can_be_taken_back(bench: Bench) -> None:
    problems = edited(bench, single_mutations(1, _SEED))

    assert not problems, words(problems)


def test_bystander_finishes_and_nothing_of_the_others_is_left(bench: Bench) -> None:
    pods = [pod for pod in bench.view.pods("driver") if is_of(pod, "bystander")]
    played.end_pod(bench.rig.client, pods[0], _GOOD)
    wait_until(lambda: bench.view.status("bystander").get("phase") == "Succeeded", "the bystander succeeds", 60)
    wait_until(lambda: [e for e in bench.view.entries() if e.kind != names.KIND] == [], "nothing is left", 60)
    log = bench.operator.log()

    assert "Traceback" not in log, log.partition("Traceback")[2][:3000]
    assert bench.operator.unexpected == []

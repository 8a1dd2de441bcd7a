"""The plan has each fault at each call of all lives once; other lives have the same call with the same fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcluster_api import names
from tests.support.chaos.classes import Call, calls, handling
from tests.support.chaos.life import Result
from tests.support.chaos.plan import LIVES, Life, Planned, chosen_lives, chosen_trials, plan
from tests.support.chaos_lives import (
    AT_EACH_WRITE,
    CLUSTERS,
    LIVED,
    RUN,
    SHARED,
    SUCCESS,
    Course,
    course,
    is_event,
    life,
    written,
)
from tests.support.rig.faults import REASONS, FaultKind


def trials(references: dict[Life, Result]) -> Iterator[tuple[Call, FaultKind, int]]:
    """Yield each fault at each write of lives."""
    for name, result in references.items():
        for write, call in zip(result.writes, calls(name.scenario, name.kind, result.writes), strict=True):
            kinds = AT_EACH_WRITE | ({FaultKind.STALE_LISTS} if write.method == "DELETE" else set())
            yield from ((call, kind, 0) for kind in kinds)
            yield from ((call, FaultKind.REFUSE, status) for status in REASONS)


def tried(planned: Iterable[Planned]) -> Iterator[tuple[Call, FaultKind, int]]:
    for one in planned:
        assert one.call is not None
        yield one.call, one.fault.kind, one.fault.status


def test_lives_of_this_module_are_all_lives() -> None:
    assert set(LIVED) == set(LIVES)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9), lives=st.sets(st.sampled_from(LIVES), min_size=1))
def test_plan_has_every_fault_at_every_write_once(seed: int, lives: set[Life]) -> None:
    references = {name: LIVED[name] for name in lives}
    planned = plan(references, seed)

    assert Counter(tried(planned.all())) == Counter(trials(references))
    assert len(set(map(str, planned.all()))) == len(planned.all())


def classes_of(found: Iterable[tuple[Call, FaultKind, int]]) -> set[object]:
    """Return what must be tried: of each trial, what the operator handles differently."""
    needed: set[object] = set()
    for call, kind, status in found:
        if is_event(call):
            if kind in (FaultKind.REFUSE, FaultKind.DROP_ANSWER):
                needed.add((call.kind, call.owner, "Event", kind, status))
        elif kind is FaultKind.REFUSE:
            needed.add((call, handling(call, status)))
            target = "-".join(call.target.split("-")[:2])
            needed.add((call.kind, call.owner, target, status))
        else:
            needed.add((call, kind))
    return needed


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9), lives=st.sets(st.sampled_from(LIVES), min_size=1))
def test_plan_runs_a_trial_of_each_class(seed: int, lives: set[Life]) -> None:
    planned = plan({name: LIVED[name] for name in lives}, seed)

    assert classes_of(tried(planned.unlike)) == classes_of(tried(planned.all()))


@pytest.mark.parametrize("seed", range(3))
def test_plan_runs_no_two_trials_that_are_alike(seed: int) -> None:
    planned = list(tried(plan(LIVED, seed).unlike))
    refusals = [trial for trial in planned if trial[1] is FaultKind.REFUSE]
    others = Counter(one for trial in planned if trial not in refusals for one in classes_of([trial]))

    assert set(others.values()) == {1}
    assert len(refusals) <= len(classes_of(refusals))


@pytest.mark.parametrize("owner", names.OWNER_LABELS)
@pytest.mark.parametrize("kind", CLUSTERS)
def test_plan_runs_each_fault_and_each_refusal_on_each_kind_of_cluster(kind: str, owner: str) -> None:
    of_both = [call for call, _, _ in trials(LIVED) if (call.kind, call.owner) == (kind, owner) and not is_event(call)]
    targets = {"-".join(call.target.split("-")[:2]) for call in of_both}
    wanted = {(target, fault, 0) for target in targets for fault in AT_EACH_WRITE}
    wanted |= {(target, FaultKind.REFUSE, status) for target in targets for status in REASONS}
    wanted |= {(target, FaultKind.STALE_LISTS, 0) for target in targets if target.startswith("DELETE")}
    found = {
        ("-".join(call.target.split("-")[:2]), fault, status)
        for call, fault, status in tried(plan(LIVED, seed=1).unlike)
        if (call.kind, call.owner) == (kind, owner)
    }

    assert wanted <= found


def test_plan_runs_less_than_a_third_of_all_trials() -> None:
    planned = plan(LIVED, seed=1)

    assert len(planned.unlike) < len(planned.all()) / 3


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ([], 7),
        (course(RUN, "PUT Starting Delayed"), 8),  # by an operator that waits for a busy machine
        (course(RUN, "PUT Starting Waiting"), 8),
        (course(SHARED, "PUT Starting Waiting"), 8),
    ],
)
def test_write_of_a_planned_trial_is_found_whatever_is_written_before_it(more: Course, found: int) -> None:
    """The number of a write among those to its target is not enough."""
    stop, again = course(RUN, "PUT Suspended Suspended"), course(RUN, "PUT Starting Waiting")
    first = course(RUN, "PUT Starting Waiting", "POST leases", "POST jobs", "PUT Running FlowRunning", "POST jobs")
    planned = plan(life("suspend-resume", first, stop, course(RUN, "DELETE leases"), again), seed=1).unlike
    trial = next(one for one in planned if str(one.fault) == "kill-after@PUT-status-Starting~2")
    finder = trial.finder()
    assert finder is not None

    hits = [write.number for write in written([*first[:1], *more, *first[1:], *stop, *again]) if finder(write)]

    assert hits == [found]


def test_each_write_of_a_life_is_found_by_its_trial() -> None:
    for name, result in LIVED.items():
        planned = [one for one in plan({name: result}, seed=1).all() if one.fault.kind is FaultKind.KILL_AFTER]
        finders = [one.finder() for one in planned]
        hits = [[write.number for write in result.writes if finder is not None and finder(write)] for finder in finders]

        assert sorted(number for found in hits for number in found) == [write.number for write in result.writes]


def test_plan_has_the_same_order_when_the_seed_is_the_same() -> None:
    assert plan(SUCCESS, seed=1) == plan(SUCCESS, seed=1) != plan(SUCCESS, seed=2)


def test_seed_chooses_among_statuses_that_are_alike() -> None:
    def refusals(seed: int) -> set[str]:
        return {str(one) for one in plan(LIVED, seed).unlike if one.fault.kind is FaultKind.REFUSE}

    assert refusals(1) != refusals(2)


def test_patterns_choose_lives_and_trials() -> None:
    planned = plan(SUCCESS, seed=1).all()
    pattern = "success/*/kill-after@POST-leases"

    assert chosen_lives([pattern]) == [Life("success", "Dask"), Life("success", "Ray")]
    assert [str(one) for one in chosen_trials([pattern], planned)] == ["success/Dask/kill-after@POST-leases"]
    assert chosen_trials(["success/Dask"], planned) == planned


@pytest.mark.parametrize(
    "name", ["success/Dask/refuse-409@PUT-status-Running~9", "delete-running/Ray/away@DELETE-orphans~2"]
)
def test_name_of_one_trial_chooses_it_when_the_plan_does_not_have_it(name: str) -> None:
    assert [str(one) for one in chosen_trials([name], [])] == [name]


def test_unknown_life_is_refused() -> None:
    with pytest.raises(ValueError, match="no life has this name"):
        chosen_lives(["sucess/Dask"])  # codespell:ignore sucess

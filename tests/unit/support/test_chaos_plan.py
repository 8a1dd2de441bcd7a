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
from tests.support.rig.faults import REASONS, Fault, FaultKind
from tests.support.rig.owners import Owner
from tests.support.rig.writes import Write

RUN, NEXT_RUN, SHARED = Owner(names.KIND, "1"), Owner(names.KIND, "2"), Owner(names.SHARED_KIND, "3")
CLUSTERS = {"Dask": "daskclusters", "Ray": "rayclusters"}
AT_EACH_WRITE = set(FaultKind) - {FaultKind.NONE, FaultKind.STALE_LISTS, FaultKind.REFUSE}
#: Of an owner, in words: targets as `target_of` names them, of a status with its phase and reason.
Course = list[tuple[Owner, str]]


def course(owner: Owner, *words: str) -> Course:
    """Return writes for one owner, such as ``POST jobs`` or ``PUT Running FlowRunning``."""
    return [(owner, word) for word in words]


def written(writes: Course) -> tuple[Write, ...]:
    """Return the writes as the proxy records them."""
    found = []
    for number, (owner, word) in enumerate(writes, 1):
        method, _, rest = word.partition(" ")
        plural, _, reason = rest.partition(" ")
        owners = "sharedclusters" if owner.kind == names.SHARED_KIND else "flowruns"
        path, about = f"/apis/x/v1/namespaces/n/{plural}", reason
        if method == "PUT":
            path, about = f"/apis/x/v1/namespaces/n/{owners}/subject/status", rest
        found.append(Write(number, method, path, 200, float(number), about, owner=owner))
    return tuple(found)


def life(scenario: str, *courses: Course, kind: str = "Dask") -> dict[Life, Result]:
    """Return a life with its undisturbed result."""
    writes = written([write for one in courses for write in one])
    return {Life(scenario, kind): Result(scenario, kind, Fault(), writes=writes)}


def begin(kind: str, owner: Owner = RUN) -> Course:
    """Return the start of a run up to its cluster."""
    ahead = ("serviceaccounts", "configmaps", "networkpolicies", "secrets", CLUSTERS[kind], "jobs", "roles")
    posts = [f"POST {plural}" for plural in ("leases", *ahead)]
    return course(owner, "PUT Starting Waiting", "POST events Creating", *posts)


def start(kind: str, owner: Owner = RUN) -> Course:
    """Return the start of a run until it runs."""
    running = course(owner, "POST rolebindings", "PUT Running FlowRunning", "POST events FlowRunning")
    return begin(kind, owner) + running


def guest() -> Course:
    """Return the start of a run on a shared cluster."""
    posts = ("leases", "serviceaccounts", "configmaps", "networkpolicies", "jobs", "roles", "rolebindings")
    return course(
        RUN, "PUT Starting Waiting", "POST events Creating", *(f"POST {plural}" for plural in posts),
        "PUT Running FlowRunning", "POST events FlowRunning",
    )  # fmt: skip


def finish(reason: str, phase: str, owner: Owner = RUN) -> Course:
    """Return the end of a run."""
    return course(owner, f"PUT Stopping {reason}", f"POST events {reason}", "DELETE leases", f"PUT {phase} {reason}")


def start_shared(kind: str) -> Course:
    """Return the start of a shared cluster."""
    groups = ("daskworkergroups",) if kind == "Dask" else ()
    posts = ("leases", "networkpolicies", "secrets", CLUSTERS[kind], "serviceaccounts", "roles", *groups, "deployments")
    return course(
        SHARED, "PUT Starting Creating", "POST events Creating", *(f"POST {plural}" for plural in posts),
        "POST rolebindings", "PATCH leases", "PUT Ready ClusterUsable", "POST events ClusterUsable",
    )  # fmt: skip


def swept(kind: str, owner: Owner) -> Course:
    """Return the deletions for an owner that its user deletes."""
    deleted = ("leases", CLUSTERS[kind], "roles", "rolebindings", "serviceaccounts", "replicasets", "pods")
    return course(owner, *(f"DELETE {plural}" for plural in deleted))


def all_lives() -> dict[Life, Result]:
    """Return all lives of `make chaos`, with the writes that an operator makes in them."""
    found: dict[Life, Result] = {}
    for kind in CLUSTERS:
        scaled = ["PATCH daskclusters", "DELETE deployments", "DELETE deployments"] if kind == "Dask" else []
        groups = ["PATCH daskworkergroups"] if kind == "Dask" else []
        use = [*start_shared(kind), *guest(), *course(SHARED, "PATCH leases", *scaled, *groups)]
        lives: dict[str, Course] = {
            "success": [*start(kind), *finish("Succeeded", "Succeeded")],
            "failure": [*start(kind), *finish("FlowFailed", "Failed")],
            "cancel": [*start(kind), *finish("Cancelled", "Cancelled")],
            "delete-starting": [*begin(kind), *swept(kind, RUN)],
            "delete-running": [*start(kind), *swept(kind, RUN)],
            "recreate": [*start(kind), *swept(kind, RUN), *start(kind, NEXT_RUN)],
            "suspend-resume": [
                *start(kind), *course(RUN, "PUT Suspended Suspended", "POST events Suspended", "DELETE leases"),
                *start(kind), *finish("Succeeded", "Succeeded"),
            ],
            "expiry": [*start(kind), *finish("Succeeded", "Succeeded"), *course(RUN, "DELETE flowruns")],
            "scaling": [*start(kind), *course(RUN, *scaled), *finish("Succeeded", "Succeeded")],
            "shared-use": [*use, *finish("Succeeded", "Succeeded"), *swept(kind, SHARED)],
            "shared-suspend": [
                *start_shared(kind), *course(SHARED, "PUT Suspended Suspended", "POST events Suspended"),
                *course(SHARED, "DELETE leases"), *start_shared(kind), *swept(kind, SHARED),
            ],
            "shared-upgrade": [
                *use, *course(SHARED, "PUT Upgrading SpecChanged", "POST events Upgrading", "DELETE leases"),
                *finish("ClusterLost", "Failed"), *start_shared(kind), *swept(kind, SHARED),
            ],
        }  # fmt: skip
        for scenario, writes in lives.items():
            found |= life(scenario, writes, kind=kind)
    return found


LIVED = all_lives()


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


def is_event(call: Call) -> bool:
    return call.target.startswith("POST-events")


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


def new_in(*lives: dict[Life, Result], fault: FaultKind = FaultKind.KILL_AFTER) -> set[str]:
    """Return the writes of the last life at which a fault is not like one of an earlier life."""
    references = {name: result for one in lives for name, result in one.items()}
    (last,) = lives[-1]
    return {
        str(one.fault).partition("@")[2]
        for one in plan(references, seed=1).unlike
        if one.life == last and one.fault.kind is fault
    }


SUCCESS = life("success", start("Dask"))


@pytest.mark.parametrize(
    ("later", "new"),
    [
        (life("failure", start("Dask")), set()),
        (
            life("cancel", start("Dask"), finish("Cancelled", "Cancelled")),
            {"PUT-status-Stopping", "DELETE-leases", "PUT-status-Cancelled"},
        ),
        (
            life("delete-running", start("Dask"), swept("Dask", RUN)),
            {"DELETE-leases", "DELETE-orphans", "DELETE-access"},
        ),
        (life("recreate", start("Dask"), start("Dask", NEXT_RUN)), set()),
        (
            life("scaling", start("Dask"), course(RUN, "PATCH daskclusters", "DELETE deployments")),
            {"PATCH-daskclusters", "DELETE-deployments"},
        ),
        (life("expiry", start("Dask"), course(RUN, *["PUT Running Resized"] * 3)), {"PUT-status-Running~2",
                                                                                  "PUT-status-Running~3"}),
        (
            life("shared-use", course(SHARED, "PUT Starting Creating", "POST leases")),
            {"PUT-status-Starting", "POST-leases"},
        ),
        (life("success", course(RUN, "PUT Starting Waiting"), kind="Ray"), {"PUT-status-Starting"}),
    ],
)  # fmt: skip
def test_plan_runs_each_fault_at_each_call_that_no_earlier_life_has(later: dict[Life, Result], new: set[str]) -> None:
    """A call is a write for an owner in a state of that owner."""
    assert new_in(SUCCESS, later) == new


def test_call_at_the_end_of_a_run_does_not_depend_on_how_it_ended() -> None:
    ended = [life(name, start("Dask"), finish(reason, "Failed")) for name, reason in (("a", "Lost"), ("b", "Killed"))]

    assert new_in(*ended) == {"PUT-status-Stopping", "PUT-status-Failed"}


def test_life_with_an_exact_number_of_objects_has_what_another_life_has_too() -> None:
    racing = life("delete-starting", begin("Dask"))

    assert new_in(SUCCESS, racing) == {"POST-jobs", "POST-roles"}  # the user deletes the run, whose cluster exists
    assert new_in(racing, SUCCESS) >= {"PUT-status-Starting", "POST-leases", "POST-jobs", "POST-roles"}


def states(*courses: Course) -> list[tuple[str, str]]:
    """Return owner and state of each write."""
    ((name, result),) = life("shared-use", *courses).items()
    return [(call.owner, call.state) for call in calls(name.scenario, name.kind, result.writes)]


def test_state_is_that_of_the_owner_and_of_the_cluster_that_it_uses() -> None:
    ready, running = course(SHARED, "PUT Ready ClusterUsable"), course(RUN, "PUT Starting Waiting", "POST leases")

    assert states(ready, running, ready, course(RUN, "PUT Failed ClusterLost"), ready) == [
        ("SharedCluster", ""),
        ("FlowRun", " on Ready"),
        ("FlowRun", "Starting on Ready"),
        ("SharedCluster", "Ready, in use"),
        ("FlowRun", "Starting on Ready"),
        ("SharedCluster", "Ready"),
    ]


def test_state_of_an_owner_whose_user_deletes_it_does_not_depend_on_others() -> None:
    run = course(RUN, "PUT Running FlowRunning")

    assert states(run, course(RUN, "DELETE networkpolicies", "DELETE jobs"), course(NEXT_RUN, "PUT Starting Waiting"))[
        1:
    ] == [("FlowRun", "Running, deleted"), ("FlowRun", "Running, deleted"), ("FlowRun", "")]


@pytest.mark.parametrize("first", ["leases", "pods", "daskworkergroups", "rolebindings"])
def test_deletion_of_an_owner_that_its_user_deletes_is_one_of_a_group_whichever_comes_first(first: str) -> None:
    deleted = written(course(RUN, "PUT Running FlowRunning", f"DELETE {first}", "DELETE deployments"))

    assert [call.target for call in calls("delete-running", "Dask", deleted)][2] == "DELETE-orphans"


def test_deletion_of_a_worker_is_not_one_of_a_group() -> None:
    scaled = written(course(RUN, "PUT Running FlowRunning", "DELETE deployments", "PUT Stopping Succeeded"))

    assert [call.target for call in calls("scaling", "Dask", scaled)][1] == "DELETE-deployments"


def test_fault_at_a_later_start_is_not_like_one_at_the_first_start() -> None:
    suspended = course(RUN, "PUT Suspended Suspended")
    twice = life("suspend-resume", start("Dask"), suspended, start("Dask"))
    (result,) = twice.values()
    later = [call for call in calls("suspend-resume", "Dask", result.writes) if call.start == 2]

    assert [call.target for call in later] == [call.target for call in calls("a", "Dask", written(start("Dask")))][:-1]
    for fault in (FaultKind.AWAY, FaultKind.REFUSE):
        assert new_in(SUCCESS, twice, fault=fault) >= {"POST-leases~2", "POST-jobs~2", "PUT-status-Running~2"}


@pytest.mark.parametrize("fault", sorted(AT_EACH_WRITE))
def test_fault_at_an_event_is_like_one_at_the_status_before_it(fault: FaultKind) -> None:
    planned = plan(life("success", course(RUN, "PUT Starting Waiting", "POST events Creating")), seed=1).unlike
    of_event = [one for one in planned if one.call is not None and is_event(one.call)]

    assert any(one.fault.kind is fault for one in of_event) == (fault is FaultKind.DROP_ANSWER)
    assert {one.fault.status for one in of_event if one.fault.kind is FaultKind.REFUSE} == set(REASONS)


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

"""Which trials of the chaos plan are alike: the same fault at the same call."""

from __future__ import annotations

import pytest

from tests.support.chaos.classes import calls
from tests.support.chaos.life import Result
from tests.support.chaos.plan import Life, plan
from tests.support.chaos_lives import (
    AT_EACH_WRITE,
    NEXT_RUN,
    RUN,
    SHARED,
    SUCCESS,
    Course,
    begin,
    course,
    finish,
    is_event,
    life,
    new_in,
    start,
    swept,
    written,
)
from tests.support.rig.faults import REASONS, FaultKind


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

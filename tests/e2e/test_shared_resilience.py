"""A shared cluster and its runs under many runs, kills, deletion, upgrades and many shutdowns."""

from __future__ import annotations

import datetime as dt
import functools
import json
import time
from typing import Any

import pytest
from distributed import Client, Event

from flowcluster.clusters import SharedKubernetesCluster
from flowcluster_api import names
from tests.support import shared_loads
from tests.support.shared_clusters import SharedClusters, by_reference, shared_cluster
from tests.support.shared_programs import CLASSES, HELD, LEASE_SECONDS, RELEASED_SECONDS, task_holder, work_for
from tests.support.waiting import wait_until
from tests.support.world import World

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

both_kinds = pytest.mark.parametrize("kind", ["Dask", "Ray"])
#: Seconds from the loss of a cluster until the runs on it have ended.
LOST_SECONDS = 10
#: Bound: start time of a rebuilt scheduler or head, relative to that of the first start.
REBUILT = 1.5
#: Seconds without work after which clusters are shut down: the least that a spec can have.
IDLE_SECONDS = 10


def tasks_of(world: World, name: str) -> dict[str, int]:
    """Return the numbers of a run's tasks, by state."""
    return dict((world.status(name).get("flow") or {}).get("tasks") or {})


def is_over_as_lost(world: World, name: str) -> bool:
    """Return whether a run is over because its cluster is lost."""
    status = world.status(name)
    return status["phase"] in ("Stopping", "Failed") and status["reason"] == "ClusterLost"


def wait_for_loss(world: World, runs: list[str]) -> None:
    """Wait until runs are over because their cluster is lost. How soon their pods end then is up to the node."""
    wait_until(lambda: all(is_over_as_lost(world, name) for name in runs), f"{', '.join(runs)} are over", LOST_SECONDS)
    for name in runs:
        assert world.wait_phase(name, "Failed", "Succeeded")["reason"] == "ClusterLost"


def has_result(world: World, name: str) -> bool:
    """Return whether a run has completed its first task."""
    return bool(tasks_of(world, name).get("completed"))


def since_last_start(workers: list[Any]) -> float:
    """Return the seconds since the containers of all these workers were started. The node reports whole seconds."""
    starts: list[dt.datetime] = [worker.status.container_statuses[0].state.running.started_at for worker in workers]
    return (dt.datetime.now(dt.UTC) - min(starts)).total_seconds()


def test_twenty_runs_side_by_side_have_right_results_and_fair_times(world: World, where: dict[str, Any]) -> None:
    workers, seconds = 4, 0.2
    counts = {f"run-{number}": 2 * number for number in range(1, 21)}
    with (
        shared_cluster(world, "Dask", workers={"minimum": workers, "maximum": workers}),
        SharedKubernetesCluster("team", **where) as cluster,
        Client(cluster) as client,
    ):
        for name, count in counts.items():
            parameters = {"count": count, "seconds": seconds, "waits": True}
            by_reference(world, name, "shared_loads.py:squares", parameters=parameters)
        uids = {shared_loads.uid_of(world, name) for name in counts}
        wait_until(lambda: uids <= shared_loads.runs_at(client), "all runs are connected", 240)
        Event(shared_loads.BEGIN, client=client).set()
        for name, count in counts.items():
            status = world.wait_phase(name, "Succeeded", "Failed", seconds=120)
            assert (status["phase"], status["flow"]["result"]) == ("Succeeded", str(sum(n * n for n in range(count))))
        found = shared_loads.executed(client)

    expected = {(name, number): 1 for name, count in counts.items() for number in range(count)}
    assert dict(found.times) == expected
    took = {name: end - found.began for name, end in found.ends.items()}
    # The time of one task depends on this machine under this load: the test checks fairness.
    each = max(took.values()) * workers / sum(counts.values())
    fair = shared_loads.fair_seconds({name: each * count for name, count in counts.items()}, workers)
    late = {name: (round(took[name], 1), round(fair[name], 1)) for name in counts if took[name] > 2 * fair[name]}
    assert late == {}


def test_run_whose_pod_is_killed_leaves_nothing_and_disturbs_no_other(world: World, where: dict[str, Any]) -> None:
    with (
        shared_cluster(world, "Dask", workers={"minimum": 2, "maximum": 2}),
        SharedKubernetesCluster("team", **where) as cluster,
        Client(cluster) as client,
    ):
        by_reference(world, "killed", "shared_work.py:holds", leaseDurationSeconds=LEASE_SECONDS)
        by_reference(world, "other", "shared_loads.py:squares", parameters={"count": 100, "seconds": 0.3})
        wait_until(lambda: tasks_of(world, "killed").get("running"), "the task of killed runs", 120)
        wait_until(lambda: tasks_of(world, "other").get("completed"), "other has results", 60)
        uid = shared_loads.uid_of(world, "killed")
        keys = shared_loads.keys_of(client, uid)
        assert keys
        (pod,) = [pod for pod in world.pods("driver") if pod.metadata.name.startswith("killed-")]
        world.core.delete_namespaced_pod(pod.metadata.name, world.namespace, grace_period_seconds=0)

        wait_until(lambda: not keys & shared_loads.known_keys(client), "its work is gone", RELEASED_SECONDS)
        wait_until(lambda: uid not in shared_loads.runs_at(client), "its clients are gone", RELEASED_SECONDS)
        assert world.wait_phase("killed", "Failed", "Succeeded", seconds=60)["reason"] == "DriverLost"
        status = world.wait_phase("other", "Succeeded", "Failed", seconds=120)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", str(sum(n * n for n in range(100))))
        assert dict(shared_loads.executed(client).times) == {("other", number): 1 for number in range(100)}


def test_program_whose_machine_stops_answering_leaves_nothing(world: World, where: dict[str, Any]) -> None:
    with (
        shared_cluster(world, "Dask", workers={"minimum": 2, "maximum": 2}),
        SharedKubernetesCluster("team", **where) as cluster,
        Client(cluster) as client,
        task_holder(where) as program,
    ):
        mine = client.submit(sum, [3, 4], key="mine")
        assert mine.result(60) == 7
        assert {HELD, "mine"} <= shared_loads.known_keys(client)
        # Its connections stay open, as those of a machine whose network is cut.
        for process in (program, *program.children(recursive=True)):
            process.suspend()
        wait_until(lambda: HELD not in shared_loads.known_keys(client), "its work is gone", RELEASED_SECONDS)
        assert mine.result(10) == 7


@both_kinds
def test_deleted_cluster_ends_the_runs_on_it_and_leaves_nothing(kind: str, world: World) -> None:
    clusters = SharedClusters(world)
    clusters.create("team", kind, workers={"minimum": 2, "maximum": 2})
    clusters.wait_phase("team", "Ready")
    runs = [f"run-{number}" for number in (1, 2, 3)]
    for name in runs:
        by_reference(world, name, "shared_work.py:holds")
    wait_until(lambda: sum(tasks_of(world, name).get("running", 0) for name in runs) >= 2, "tasks run", 120)
    for name in runs:
        world.wait_phase(name, "Running", seconds=60)
    clusters.delete("team")

    wait_for_loss(world, runs)
    wait_until(lambda: clusters.get("team") is None, "it is deleted", 60)
    world.wait_empty(60)


def test_five_runs_end_on_the_cluster_that_they_began_on_before_it_is_upgraded(world: World) -> None:
    runs = [f"run-{number}" for number in range(5)]
    with shared_cluster(world, "Dask", upgrade="WhenIdle", workers={"minimum": 1, "maximum": 1}) as clusters:
        scheduler = clusters.scheduler("team")
        for name in runs:
            by_reference(world, name, "annotated.py:host")
        for name in runs:
            wait_until(functools.partial(has_result, world, name), f"{name} has used the cluster", 120)
        clusters.patch("team", workers={"threads": 2})
        wait_until(lambda: clusters.condition("team", "UpToDate") == "False", "the upgrade waits", 20)
        by_reference(world, "late", "outcomes.py:good", parameters={"x": 21})
        assert world.wait_phase("late", "Succeeded", "Failed", seconds=90)["phase"] == "Succeeded"
        assert clusters.scheduler("team") == scheduler
        for name in runs:
            world.annotate(name, "end")
        for name in runs:
            status = world.wait_phase(name, "Succeeded", "Failed", seconds=60)
            assert status["phase"] == "Succeeded", status["message"]
            found = json.loads(status["flow"]["result"])
            assert found[:2] == found[2:]
        wait_until(lambda: clusters.condition("team", "UpToDate") == "True", "it is upgraded", 120)
        clusters.wait_phase("team", "Ready", 60)
        assert clusters.scheduler("team") != scheduler
        by_reference(world, "next", "outcomes.py:good", parameters={"x": 21})
        assert world.wait_phase("next", "Succeeded", "Failed", seconds=90)["phase"] == "Succeeded"


def test_five_runs_end_as_cluster_lost_when_it_is_upgraded_now(world: World) -> None:
    runs = [f"run-{number}" for number in range(5)]
    with shared_cluster(world, "Dask", upgrade="Now", workers={"minimum": 1, "maximum": 1}) as clusters:
        scheduler = clusters.scheduler("team")
        for name in runs:
            flow = {"backoffLimit": 1} if name == "run-0" else {}
            by_reference(world, name, "annotated.py:host", flow=flow)
        for name in runs:
            wait_until(functools.partial(has_result, world, name), f"{name} has used the cluster", 120)
        clusters.patch("team", workers={"threads": 2})
        wait_for_loss(world, runs[1:])
        world.annotate("run-0", "end")
        status = world.wait_phase("run-0", "Succeeded", "Failed", seconds=180)
        assert (status["phase"], status["flow"]["lostClusters"]) == ("Succeeded", 1), status["message"]
        assert clusters.scheduler("team") != scheduler
        assert clusters.condition("team", "UpToDate") == "True"


@both_kinds
def test_lost_scheduler_is_rebuilt_about_as_quickly_as_the_first_one_was_started(kind: str, world: World) -> None:
    before = time.monotonic()
    with shared_cluster(world, kind) as clusters:
        started = time.monotonic() - before
        scheduler = clusters.scheduler("team")
        by_reference(world, "lost", "shared_work.py:holds")
        wait_until(lambda: tasks_of(world, "lost").get("running"), "the task of lost runs", 120)
        (leader,) = world.pods(names.HEAD_COMPONENTS[kind])
        world.core.delete_namespaced_pod(leader.metadata.name, world.namespace, grace_period_seconds=0)
        deleted = time.monotonic()

        def is_rebuilt() -> bool:
            status = clusters.status("team")
            found = (status.get("scheduler") or {}).get("uid", scheduler)
            return bool(status["phase"] == "Ready" and status.get("restarts") == 1 and found != scheduler)

        wait_until(lambda: is_over_as_lost(world, "lost"), "the run on it is over", LOST_SECONDS)
        wait_until(is_rebuilt, "another one is Ready", 120)
        took = time.monotonic() - deleted
        assert since_last_start(world.pods("worker")) < took + 1, "a worker counts as Ready that has not ended yet"
        by_reference(world, "next", "outcomes.py:good", parameters={"x": 21})
        status = world.wait_phase("next", "Succeeded", "Failed", seconds=120)
        assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "42"), status["message"]
    before = time.monotonic()
    with shared_cluster(world, kind, "another"):
        # A busy machine makes starts differ by more than the bound: one before and one after are compared with.
        assert took <= REBUILT * max(started, time.monotonic() - before)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "clusters", "rounds"), [("Dask", 4, 5), ("Ray", 2, 3)])
def test_clusters_are_shut_down_and_woken_many_times(
    kind: str, clusters: int, rounds: int, world: World, where: dict[str, Any]
) -> None:
    shared = SharedClusters(world)
    names_of = [f"team-{number}" for number in range(clusters)]
    for name in names_of:
        shared.create(name, kind, workers={"minimum": 1, "maximum": 1}, idleShutdownSeconds=IDLE_SECONDS)
    for number in range(rounds):
        for name in names_of:
            shared.wait_phase(name, "Sleeping")
        world.wait_empty(30)
        for name in names_of:
            with CLASSES[kind](name, **where) as cluster, work_for(cluster) as execute:
                assert execute(sum, [number, 1]) == number + 1
    for name in names_of:
        assert shared.status(name).get("restarts", 0) == 0
        shared.delete(name)
    world.wait_empty(60)

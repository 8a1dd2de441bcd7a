"""Runs that are stopped, deleted or broken before their end must leave nothing."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World, scale
from tools.install import RELEASE, SYSTEM, Installed

pytestmark = pytest.mark.timeout(240)

#: The operator's writes while a run starts: its status and the Lease, then what pods need, then cluster, driver and
#: rights side by side. `make test` tries the first, one of the second step, and two of the last one. The tests of
#: tests/unit/operator/test_failed_writes.py try each write, and those of tests/integration/test_chaos.py some.
WRITES = range(1, 11)
TELLING_WRITES = (1, 4, 7, 9)


def naps(world: World) -> dict[str, Any]:
    """Return a run that does not end by itself."""
    return FlowRun(flow=world.flow("endless.py:naps")).body()


def test_run_leaves_nothing_when_it_is_deleted_while_it_starts(world: World) -> None:
    """The children of a FlowRun that is deleted before anything runs are deleted with it."""
    world.create(naps(world))
    wait_until(world.dask_clusters, "it has a cluster")
    world.delete("run")

    wait_until(lambda: not world.runs(), "the FlowRun is gone", 5)


def test_run_leaves_nothing_when_it_is_deleted_while_it_runs(world: World) -> None:
    """The children of a FlowRun that is deleted while its flow runs are deleted with it."""
    world.create(naps(world))
    world.wait_phase("run", "Running")
    world.delete("run")

    wait_until(lambda: not world.runs(), "the FlowRun is gone", 5)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_operator_deletes_a_worker_group_that_is_created_after_its_cluster_is_gone(world: World, end: str) -> None:
    """dask-kubernetes can create the worker group of a cluster that is already gone, without an owner.

    Another worker group with the same labels belongs to another user, and stays.
    """
    world.create(naps(world))
    world.wait_phase("run", "Running")
    (made,) = world.dask_worker_groups()
    name, labels = made["metadata"]["name"], made["metadata"]["labels"]
    world.delete_dask_worker_group(name)
    wait_until(lambda: not world.dask_worker_groups(), "the worker group is gone")
    for late in (name, "stranger"):  # no DaskCluster of that name exists, so that dask-kubernetes adopts neither
        metadata = {"name": late, "labels": labels}
        world.create_dask_worker_group(made | {"metadata": metadata, "spec": made["spec"] | {"cluster": "late"}})
    if end == "delete":
        world.delete("run")
    else:
        world.patch("run", {"cancel": True})
        world.wait_phase("run", "Cancelled")

    wait_until(lambda: world.everything() == ["DaskWorkerGroup stranger"], "only the stranger's is left", 60)
    world.delete_dask_worker_group("stranger")


def test_run_is_cancelled_while_it_runs(world: World) -> None:
    """`spec.cancel` stops the flow, and the record is Cancelled."""
    world.create(naps(world))
    world.wait_phase("run", "Running")
    world.patch("run", {"cancel": True})
    status = world.wait_phase("run", "Cancelled", "Failed", "Succeeded")

    assert (status["phase"], status["reason"]) == ("Cancelled", "Cancelled")


@pytest.mark.long  # `test_run_whose_scheduler_is_killed_begins_again_on_another_cluster` ends in the same way
def test_run_fails_when_its_scheduler_is_killed(world: World) -> None:
    """The run fails as ClusterLost, and its phase is never Running again."""
    world.create(naps(world))
    world.wait_phase("run", "Running")
    wait_until(lambda: world.status("run")["cluster"].get("scheduler"), "the scheduler is known")
    (scheduler,) = world.pods("scheduler")
    world.core.delete_namespaced_pod(scheduler.metadata.name, world.namespace, grace_period_seconds=0)
    status = world.wait_phase("run", "Failed", "Succeeded", "Cancelled")

    assert (status["phase"], status["reason"]) == ("Failed", "ClusterLost")


def test_run_whose_scheduler_is_killed_begins_again_on_another_cluster(world: World) -> None:
    """The second loss ends the run, as backoffLimit is 1."""
    world.create(FlowRun(flow=world.flow("endless.py:naps", backoffLimit=1)).body())
    world.wait_phase("run", "Running")
    seen = []
    for _ in range(2):
        (cluster,) = world.dask_clusters()
        (job,) = world.batch.list_namespaced_job(world.namespace).items
        seen += [cluster["metadata"]["uid"], job.metadata.uid]
        (scheduler,) = world.pods("scheduler")
        world.core.delete_namespaced_pod(scheduler.metadata.name, world.namespace, grace_period_seconds=0)
        wait_until(lambda: world.status("run")["reason"] == "ClusterLost", "the loss is noticed", 20)
        world.wait_phase("run", "Running", "Failed", seconds=120)
    status = world.wait_phase("run", "Failed")

    assert len(set(seen)) == 4
    assert status["reason"] == "ClusterLost"
    assert (status["flow"]["attempts"], status["flow"]["lostClusters"], status["flow"]["failedAttempts"]) == (2, 1, 1)
    assert any("attempt 1 ended: " in entry["message"] for entry in status["story"])
    assert world.everything() == []


def test_run_fails_when_its_job_is_deleted(world: World) -> None:
    """The run fails as DriverLost: its flow is not run a second time."""
    world.create(naps(world))
    world.wait_phase("run", "Running")
    (job,) = world.batch.list_namespaced_job(world.namespace).items
    world.batch.delete_namespaced_job(job.metadata.name, world.namespace, propagation_policy="Background")
    status = world.wait_phase("run", "Failed", "Succeeded", "Cancelled")

    assert (status["phase"], status["reason"]) == ("Failed", "DriverLost")


@pytest.mark.alone
def test_run_that_ends_while_the_operator_is_away_is_recorded_later(world: World, installed: Installed) -> None:
    """The operator records and cleans up a flow that finished while it was scaled to zero."""
    system = World(installed.kubeconfig, SYSTEM)
    world.create(FlowRun(flow=world.flow("annotated.py:echoes", parameters={"value": 4})).body())
    world.wait_phase("run", "Running")
    scale(system, RELEASE, 0)
    try:
        world.annotate("run", "end")
        wait_until(lambda: [p for p in world.pods("driver") if p.status.phase == "Succeeded"], "the driver is done")
    finally:
        scale(system, RELEASE, 1)
        system.close()
    status = world.wait_phase("run", "Succeeded", "Failed")

    assert status["phase"] == "Succeeded", status["message"]
    assert status["flow"]["result"] == "4.0"


@pytest.mark.alone
def test_run_leaves_nothing_when_it_is_deleted_while_the_operator_is_away(world: World, installed: Installed) -> None:
    """Garbage collection deletes the children: a FlowRun has no finalizer of the operator."""
    system = World(installed.kubeconfig, SYSTEM)
    world.create(naps(world))
    world.wait_phase("run", "Running")
    scale(system, RELEASE, 0)
    try:
        world.delete("run")
        world.wait_empty(60)
    finally:
        scale(system, RELEASE, 1)
        system.close()


@pytest.mark.away
@pytest.mark.parametrize(
    "write", [pytest.param(write, marks=[pytest.mark.long] * (write not in TELLING_WRITES)) for write in WRITES]
)
def test_operator_makes_no_duplicates_when_it_is_killed_after_a_write(
    world: World, installed: Installed, operator_away: None, tmp_path: pathlib.Path, write: int
) -> None:
    """After SIGKILL at any of its first ten writes and a restart, there is one cluster and one Job."""
    with OperatorProcess(
        tmp_path, installed.kubeconfig, world.namespace, installed.images["runtime"], die_at=write
    ) as operator:
        world.create(FlowRun(flow=world.flow("outcomes.py:good")).body())
        wait_until(operator.was_killed, f"write number {write} was made", 60)
        operator.start()
        status = world.wait_phase("run", "Succeeded", "Failed")
        created = [line for line in operator.writes() if line.startswith("POST") and line.endswith("201")]

        assert status["phase"] == "Succeeded", status["message"]
        assert sum("/daskclusters" in line for line in created) == 1
        assert sum("/jobs" in line for line in created) == 1
        assert not [line for line in operator.writes() if line.startswith("PATCH")]
        assert "Traceback" not in operator.log()
        world.wait_empty(30)

"""Drivers outside of the operator's pods keep their clusters as long as they renew the Lease."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from flowcluster_api import lease
from flowcluster_api.driver import Outcome
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World

pytestmark = pytest.mark.timeout(240)

SECONDS = 10


def renew(world: World) -> None:
    now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    world.patch_lease("run", lease.renewal("laptop", SECONDS, now, now))


def begin(world: World) -> None:
    """Create a run of which this test is the driver, and renew its Lease once."""
    world.create(FlowRun(more={"leaseDurationSeconds": SECONDS}).body())
    wait_until(world.leases, "it has a Lease")
    renew(world)


def test_cluster_lives_as_long_as_its_driver_renews_the_lease(world: World) -> None:
    """Without a renewal the run ends within ten seconds of the lease's end."""
    begin(world)
    until, last = time.monotonic() + 2.5 * SECONDS, dt.datetime.now(dt.UTC)

    def renewed_long_enough() -> bool:
        nonlocal last
        renew(world)
        last = dt.datetime.now(dt.UTC)
        return time.monotonic() > until

    wait_until(renewed_long_enough, "the lease was renewed for long", 60, every=1)
    assert world.status("run")["phase"] == "Running"
    assert world.pods("scheduler")
    world.wait_empty(60)
    status = world.wait_phase("run", "Failed")
    # The record is measured, as the node determines how long pods take to end. A record has whole seconds.
    silent = dt.datetime.fromisoformat(status["finishTime"]) - last
    assert SECONDS - 1 < silent.total_seconds() < SECONDS + 10
    assert status["reason"] == "DriverLost"
    assert "laptop" in status["message"]


def test_run_ends_when_its_driver_never_renews_the_lease(world: World) -> None:
    """A process that is killed right after it requested a cluster leaves none."""
    world.create(FlowRun(more={"leaseDurationSeconds": SECONDS}).body())
    status = world.wait_phase("run", "Failed", seconds=SECONDS + 15)

    assert status["reason"] == "DriverLost"
    assert "no driver renewed" in status["message"]


def test_run_ends_immediately_when_its_driver_releases_the_cluster(world: World) -> None:
    """The driver's outcome in the Lease ends the run."""
    begin(world)
    world.wait_phase("run", "Running")
    outcome = Outcome(state="Completed", reason="FlowCompleted", message="all done", exit_code=0)
    world.patch_lease("run", lease.release(outcome))
    status = world.wait_phase("run", "Succeeded", "Failed", seconds=20)

    assert (status["phase"], status["message"]) == ("Succeeded", "all done")

"""What a pass knows of a driver that renews the run's Lease."""

from __future__ import annotations

import pytest

from flowcluster_api import lease as leases
from flowcluster_api.lease import Demand
from flowcluster_api.progress import ANNOTATION_PROGRESS, Progress, Tasks
from flowcluster_operator.kube import Kube
from flowcluster_operator.policies.heartbeat import CONFIRMED_SECONDS
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, lease, outcome, run, spec
from tests.support.observing import FINISHED, Rig, child_run, clock, parent_run


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """Nothing known, and nothing there."""
    return Rig(api, kube)


class TestDriver:
    BODY = spec(flow=False, leaseDurationSeconds=60)

    async def test_observe_reads_the_lease_of_the_driver(self, rig: Rig) -> None:
        held = lease("laptop")
        held["metadata"]["annotations"] = {leases.ANNOTATION_DEMAND: Demand(3, ("w1",)).to_json()}
        rig.known(run(self.BODY), held)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert (driver.holder, driver.outcome, driver.demand) == ("laptop", None, Demand(3, ("w1",)))

    async def test_observe_reads_what_the_driver_reports_of_its_work(self, rig: Rig) -> None:
        held = lease("laptop")
        held["metadata"]["annotations"] = {ANNOTATION_PROGRESS: Progress(Tasks(3, 1, 2), 4).to_json()}
        rig.known(run(self.BODY), held)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.progress == Progress(Tasks(3, 1, 2), 4)

    async def test_observe_finds_no_driver_when_there_is_no_lease(self, rig: Rig) -> None:
        rig.known(run(self.BODY))

        assert (await rig.observe()).driver is None

    async def test_observe_ignores_the_lease_of_another_run_that_names_this_one_as_its_owner(self, rig: Rig) -> None:
        """A driver can change the metadata of its own Lease, but not its name."""
        foreign = lease("other")
        foreign["metadata"] |= {"name": "a-first-in-the-list", "uid": "uid-other"}
        rig.known(run(self.BODY), foreign)
        assert (await rig.observe()).driver is None

        rig.known(lease("laptop"))
        driver = (await rig.observe()).driver
        assert driver is not None
        assert driver.holder == "laptop"

    async def test_observe_counts_the_silence_from_when_it_first_saw_the_renewal(self, rig: Rig) -> None:
        """Not from the time in the Lease: clocks differ."""
        held = lease("laptop")
        held["spec"]["renewTime"] = "2001-01-01T00:00:00Z"
        rig.known(run(self.BODY), held)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.silent_for < 10

    async def test_observe_reads_the_lease_when_the_silence_is_too_long(self, rig: Rig) -> None:
        held = lease("laptop")
        rig.known(run(self.BODY), held)
        rig.silent(held, 61)
        rig.there({**held, "spec": {**held["spec"], "renewTime": "2026-01-01T12:00:00.000000Z"}})
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.silent_for < 10

    async def test_observe_counts_how_long_the_api_server_confirms_the_silence(self, rig: Rig) -> None:
        held = lease("laptop")
        rig.known(run(self.BODY), held)
        rig.there(held)
        rig.silent(held, 61)
        for seconds in (CONFIRMED_SECONDS, CONFIRMED_SECONDS / 2, 0):
            rig.memory.heartbeats.confirmed_for(KEY, clock() - seconds)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.confirmed_for >= CONFIRMED_SECONDS

    async def test_observe_sends_no_request_when_the_driver_was_silent_for_a_short_time(self, rig: Rig) -> None:
        held = lease("laptop")
        rig.known(run(self.BODY), held)
        rig.silent(held, 50)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.silent_for == pytest.approx(50, abs=5)
        assert rig.api.requests == []

    async def test_observe_sends_no_request_when_no_driver_is_expected(self, rig: Rig) -> None:
        """Without a duration in the spec, a driver has the time of a start to renew the Lease first."""
        rig.known(run(spec(flow=False)), lease())
        rig.silent(lease(), 500)
        await rig.observe()

        assert rig.api.requests == []

    async def test_observe_finds_no_driver_when_the_lease_is_gone(self, rig: Rig) -> None:
        rig.known(run(self.BODY), lease("laptop"))
        rig.silent(lease("laptop"), 61)
        found = await rig.observe()

        assert (found.lease, found.driver) == (None, None)

    async def test_observe_reads_the_outcome_before_it_ends_a_run_with_its_parent(self, rig: Rig) -> None:
        """The driver's last word can be on its way while its parent's end has arrived."""
        held = lease("parent-x")
        ended = {**held, "metadata": {**held["metadata"], "annotations": {leases.ANNOTATION_OUTCOME: outcome()}}}
        rig.known(child_run(), parent_run(FINISHED), held)
        rig.there(ended)
        driver = (await rig.observe()).driver

        assert driver is not None
        assert driver.outcome is not None

"""What the operator writes about a run after it has applied a plan: status and Events."""

from __future__ import annotations

import asyncio

import pytest

from flowcluster_operator.errors import ApiUnavailable, Conflict, NotFound, Refused
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Emit, SetWorkers
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    EVENT,
    FLOW_RUN,
    JOB,
    Object,
)
from tests.support.applying import NAME, Rig, creating, uid
from tests.support.fake_api import Answer, FakeApi, Hold
from tests.support.makers import KEY, cluster

STARTING: Object = {"phase": "Starting"}
CREATED = Emit("Normal", "Created", "created Job greetings")


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """A run without children."""
    return Rig(api, kube)


class TestStatus:
    async def test_apply_writes_the_status_and_stores_it(self, rig: Rig) -> None:
        await rig.apply(status=STARTING)

        assert rig.status() == STARTING
        assert rig.store.owner(KEY) == rig.api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)

    async def test_apply_writes_nothing_when_the_plan_is_empty(self, rig: Rig) -> None:
        await rig.apply()

        assert rig.api.requests == []

    async def test_apply_writes_the_status_after_the_children(self, rig: Rig) -> None:
        await rig.apply(creating(), status=STARTING)

        assert [request.method for request in rig.api.requests] == ["POST", "PUT"]

    async def test_apply_raises_conflict_when_the_run_changed(self, rig: Rig) -> None:
        rig.api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})

        with pytest.raises(Conflict):
            await rig.apply(status=STARTING)
        assert rig.status() is None

    async def test_apply_raises_not_found_when_the_run_is_gone(self, rig: Rig) -> None:
        rig.api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)

        with pytest.raises(NotFound):
            await rig.apply(status=STARTING)

    async def test_apply_forgets_the_run_that_it_observed_when_that_is_stale(self, rig: Rig) -> None:
        """The next pass reads the FlowRun. With the stale one, each status write would fail until the watch resumes."""
        rig.api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"cancel": True}})

        with pytest.raises(Conflict):
            await rig.apply(status=STARTING)
        assert rig.store.owner(KEY) is None

    async def test_apply_writes_the_status_when_an_action_failed(self, rig: Rig) -> None:
        made = rig.known(DASK_CLUSTER, cluster())
        rig.api.inject(Answer(403, "forbidden"), "PATCH")

        with pytest.raises(Refused, match="forbidden"):
            await rig.apply(SetWorkers(DASK_CLUSTER, NAME, uid(made), {}), status=STARTING)
        assert rig.status() == STARTING

    async def test_apply_ends_all_its_writes_when_one_failed(self, rig: Rig) -> None:
        """Otherwise a write could still run during the run's next pass."""
        held = Hold()
        rig.api.inject(held, "POST", JOB)
        rig.api.inject(Answer(500), "POST", DASK_CLUSTER)
        applied = asyncio.create_task(rig.apply(creating(DASK_CLUSTER, cluster()), creating()))
        await held.arrived.wait()
        done, _ = await asyncio.wait({applied}, timeout=0.05)
        held.released.set()

        with pytest.raises(ApiUnavailable):
            await applied
        assert not done
        assert len(rig.store.children(KEY, JOB)) == 1


class TestEvents:
    async def test_apply_writes_events_about_the_run(self, rig: Rig) -> None:
        await rig.apply(events=(CREATED,))

        (event,) = rig.api.objects.all(EVENT)
        assert (event["type"], event["reason"], event["message"]) == ("Normal", "Created", CREATED.message)
        assert event["involvedObject"]["uid"] == KEY.uid
        assert event["lastTimestamp"] == "2026-01-01T12:00:00Z"

    async def test_apply_writes_events_after_the_status(self, rig: Rig) -> None:
        await rig.apply(status=STARTING, events=(CREATED,))

        assert rig.api.seen() == [f"PUT FlowRun {KEY.name} status", "POST Event"]

    async def test_apply_writes_no_event_when_the_status_was_not_written(self, rig: Rig) -> None:
        """The next pass observes the same state and writes both."""
        rig.api.inject(Answer(500), "PUT")

        with pytest.raises(ApiUnavailable):
            await rig.apply(status=STARTING, events=(CREATED,))
        assert rig.api.objects.all(EVENT) == []

    @pytest.mark.parametrize("status", [403, 404, 500])
    async def test_apply_succeeds_when_an_event_cannot_be_written(
        self, rig: Rig, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        rig.api.inject(Answer(status), "POST", EVENT)

        assert await rig.apply(events=(CREATED,)) == []
        assert "team/greetings: Event Created" in caplog.text

"""When a request for workers is repeated: with evidence that it was lost, or after long, and one at a time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import NextStep, SetWorkers
from flowcluster_operator.model.workers import ReplicaStability, RequestState, Scale
from flowcluster_operator.policies.replicas import MADE_SECONDS, PATIENCE_SECONDS, next_replicas
from flowcluster_operator.trackers.worker_requests import WorkerRequests
from tests.support.makers import KEY, cluster, deployment, observed, spec

OTHER = RunId("team", "other", "uid-other")
LATE = RequestState(is_served=False)


def sizing(served: RequestState, same: float) -> NextStep:
    """The step of a cluster with none of its two workers, whose numbers have been the same for some time."""
    seen = observed(
        spec(flow=False),
        cluster=cluster(),
        deployments=(deployment(),),
        stability=ReplicaStability(same, math.inf),
        request=served,
    )
    return next_replicas(seen, DaskBackend(), Scale(0, 2, 2))


class TestPatience:
    def test_request_that_may_be_late_is_not_repeated_soon(self) -> None:
        found = sizing(LATE, PATIENCE_SECONDS - 1)

        assert found.actions == ()
        assert found.requeue is not None
        assert found.requeue >= 1

    def test_request_that_is_late_for_long_is_repeated(self) -> None:
        (action,) = sizing(LATE, 2 * PATIENCE_SECONDS).actions

        assert isinstance(action, SetWorkers)
        assert action.is_retry

    def test_request_is_repeated_soon_when_a_newer_one_was_served(self) -> None:
        assert sizing(LATE._replace(is_overtaken=True), MADE_SECONDS).actions != ()

    def test_request_is_repeated_soon_when_a_worker_is_gone_that_was_there(self) -> None:
        assert sizing(RequestState(), MADE_SECONDS).actions != ()

    @given(st.integers(0, 40))
    def test_each_retry_waits_longer_than_the_one_before(self, retries: int) -> None:
        first, second = (sizing(LATE._replace(retries=number), 0).requeue or 0 for number in (retries, retries + 1))

        assert first < second or second == 600

    def test_request_waits_while_another_one_is_repeated(self) -> None:
        found = sizing(RequestState(has_to_wait=True), 1000)

        assert found.actions == ()
        assert found.requeue is not None

    def test_growth_waits_for_no_retry(self) -> None:
        """To ask for more is not to ask again."""
        seen = observed(
            spec(flow=False), cluster=cluster(), deployments=(deployment(),), request=RequestState(has_to_wait=True)
        )

        (action,) = next_replicas(seen, DaskBackend(), Scale(0, 5, 5)).actions
        assert isinstance(action, SetWorkers)
        assert not action.is_retry


class TestRequests:
    def test_request_is_served_when_its_workers_are_there(self) -> None:
        requests = WorkerRequests()

        assert not requests.record(KEY, 0, 2, 0).is_served
        assert not requests.record(KEY, 1, 2, 1).is_served
        assert requests.record(KEY, 2, 2, 2).is_served
        assert requests.record(KEY, 1, 2, 3).is_served, "the loss of a worker does not make a new request"
        assert not requests.record(KEY, 1, 3, 4).is_served

    def test_request_is_not_served_by_lowering_the_number(self) -> None:
        requests = WorkerRequests()
        requests.record(KEY, 0, 2, 0)
        requests.record(KEY, 0, 0, 80)

        assert not requests.record(KEY, 0, 2, 81).is_served

    def test_request_is_overtaken_when_a_clearly_newer_one_was_served(self) -> None:
        requests, third = WorkerRequests(), RunId("team", "third", "uid-third")
        requests.record(KEY, 0, 2, 0)
        for key, time in ((OTHER, 5), (third, 15)):
            requests.record(key, 0, 2, time)
            requests.record(key, 2, 2, time + 1)
            assert requests.record(KEY, 0, 2, time + 2).is_overtaken is (time == 15)

    def test_one_request_is_repeated_at_a_time(self) -> None:
        requests = WorkerRequests()
        requests.record(KEY, 0, 2, 0)
        requests.record(OTHER, 0, 2, 0)

        assert requests.claim(KEY, 100)
        assert not requests.claim(OTHER, 101)
        assert requests.record(OTHER, 0, 2, 101).has_to_wait
        assert not requests.record(KEY, 0, 2, 101).has_to_wait

    def test_next_request_is_repeated_when_the_first_one_is_served_or_takes_too_long(self) -> None:
        requests = WorkerRequests()
        requests.record(KEY, 0, 2, 0)
        requests.record(OTHER, 0, 2, 0)
        requests.claim(KEY, 100)
        requests.record(KEY, 2, 2, 105)

        assert requests.claim(OTHER, 106)
        assert not requests.claim(KEY, 130)
        assert requests.claim(KEY, 136)

    def test_retries_are_counted_until_the_request_is_served(self) -> None:
        requests = WorkerRequests()
        requests.record(KEY, 0, 2, 0)
        for now in (100, 200):
            requests.claim(KEY, now)

        assert requests.record(KEY, 0, 2, 201).retries == 2
        assert requests.record(KEY, 2, 2, 202).retries == 0

    def test_run_that_is_gone_keeps_no_other_waiting(self) -> None:
        requests = WorkerRequests()
        requests.claim(KEY, 100)
        requests.forget(KEY)

        assert requests.claim(OTHER, 101)

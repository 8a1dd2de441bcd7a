"""How a cluster gets from one number of workers to another. No API server: values in, actions out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flowcluster_api.lease import Demand
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Action, Delete, SetWorkers
from flowcluster_operator.model.workers import ReplicaStability, Scale
from flowcluster_operator.policies.replicas import MADE_SECONDS, PATIENCE_SECONDS, SEEN_SECONDS, next_replicas
from flowcluster_operator.policies.scale_target import scale
from flowcluster_operator.resources import DASK_CLUSTER, DEPLOYMENT
from flowcluster_operator.settings import Settings
from flowcluster_operator.trackers.replica_stability import ReplicaStabilityTracker
from tests.support.makers import KEY, cluster, deployment, lease, observed, pod, spec

REST = ReplicaStability()


def seen(
    live: int,
    requested: int,
    *,
    started: int | None = None,
    retired: tuple[str, ...] = (),
    stability: ReplicaStability = REST,
) -> Observed:
    """A cluster with workers 1 to `live`, of which the first `started` run; all of them by default."""
    body = cluster()
    body["spec"]["worker"]["replicas"] = requested
    running = range(1, (live if started is None else started) + 1)
    return observed(
        spec(flow=False),
        cluster=body,
        deployments=(deployment(), *(deployment("worker", number=n, age=100 - n) for n in range(1, live + 1))),
        pods=[pod("worker", name=f"worker-w{n}-x-y", uid=f"p{n}") for n in running],
        lease=lease("laptop"),
        driver=DriverHeartbeat("laptop", None, 1, 0, Demand(0, retired)),
        stability=stability,
    )


def step(found: Observed, target: int) -> tuple[list[str] | int | None, float | None]:
    """Return the names of deleted workers, or the requested number; and the seconds until the next pass."""
    sizing = next_replicas(found, DaskBackend(), Scale(0, 10, target))
    return _short(sizing.actions), sizing.requeue


def _short(actions: tuple[Action, ...]) -> list[str] | int | None:
    if not actions:
        return None
    if isinstance(action := actions[0], SetWorkers):
        assert len(actions) == 1
        assert (action.resource, action.uid) == (DASK_CLUSTER, "uid-DaskCluster")
        assert isinstance(action.patch, dict)
        return int(action.patch["spec"]["worker"]["replicas"])
    deletes = [action for action in actions if isinstance(action, Delete)]
    assert all(action.resource is DEPLOYMENT and action.background for action in deletes)
    return [action.name for action in deletes]


def test_workers_are_requested_in_one_step() -> None:
    """The operator requests all workers together, also while earlier workers are still being created."""
    assert step(seen(0, 0), 5) == (5, None)
    assert step(seen(1, 3, stability=ReplicaStability(0, math.inf)), 5) == (5, None)


def test_replicas_stay_when_there_are_enough_workers() -> None:
    """The cluster has the right size, or too many workers that run."""
    assert step(seen(2, 2), 2) == (None, None)
    assert step(seen(4, 4), 2) == (None, None)


def test_workers_that_have_retired_go_and_the_number_follows() -> None:
    """Exactly those are deleted; afterwards the number is lowered to what is left, never below."""
    assert step(seen(4, 4, retired=("worker-w2", "worker-w9")), 2) == (["worker-w2"], 0)
    assert step(seen(3, 4, stability=ReplicaStability(0.5, math.inf)), 2) == (None, SEEN_SECONDS - 0.5)
    assert step(seen(3, 4, stability=ReplicaStability(SEEN_SECONDS, math.inf)), 2) == (3, SEEN_SECONDS)


def test_workers_that_never_started_are_deleted_first() -> None:
    """They have no results, so they do not have to retire: the youngest are deleted, as many as are too many."""
    assert step(seen(4, 4, started=1), 2) == (["worker-w4", "worker-w3"], 0)
    assert step(seen(4, 4, started=1, retired=("worker-w1",)), 2) == (["worker-w1", "worker-w4"], 0)


def test_lowered_number_is_not_raised_before_dask_kubernetes_has_seen_it() -> None:
    """dask-kubernetes does not notice a number that is lowered and raised again before it looks."""
    assert step(seen(2, 2, stability=ReplicaStability(5, 0.25)), 3) == (None, SEEN_SECONDS - 0.25)
    assert step(seen(2, 2, stability=ReplicaStability(5, SEEN_SECONDS)), 3) == (3, None)


@pytest.mark.parametrize(("target", "number"), [(3, 3), (2, 2), (1, None)], ids=["more", "as many", "fewer"])
def test_number_is_raised_when_fewer_workers_are_requested_than_exist_and_all_are_needed(
    target: int, number: int | None
) -> None:
    """A retry lowers the number while the upstream operator is late. It cannot remove workers of a lost scheduler."""
    stability = ReplicaStability(MADE_SECONDS, SEEN_SECONDS)

    assert step(seen(2, 0, stability=stability), target) == (number, None)
    assert step(seen(2, 0, stability=ReplicaStability(5, 0.25)), target)[0] is None


def test_missing_workers_are_requested_again_by_another_number() -> None:
    """The upstream operator acts only on a number that changes."""
    assert step(seen(1, 3, stability=ReplicaStability(4, math.inf)), 3) == (None, MADE_SECONDS - 4)
    assert step(seen(1, 3, stability=ReplicaStability(MADE_SECONDS, math.inf)), 3) == (1, SEEN_SECONDS)


def test_replicas_stay_while_the_upstream_operator_has_not_begun() -> None:
    """There are no workers to compare with the number yet."""
    found = observed(spec(flow=False), cluster=cluster(), stability=REST)
    assert next_replicas(found, DaskBackend(), Scale(0, 10, 2)).actions == ()


@pytest.mark.parametrize("flow", [False, True], ids=["driver elsewhere", "driver in a pod"])
@pytest.mark.parametrize(("needed", "target"), [(None, 1), (0, 1), (3, 3), (9, 4)])
def test_target_is_the_demand_within_the_bounds(needed: int | None, target: int, flow: bool) -> None:
    """It is the minimum until the driver reports a demand, and never more than the maximum."""
    workers = {"minimum": 1, "maximum": 7}
    demand = None if needed is None else Demand(needed)
    found = observed(
        spec(flow=flow, cluster={"kind": "Dask", "workers": workers}),
        driver=DriverHeartbeat("laptop", None, 1, 0, demand),
    )
    assert scale(found, Settings(max_workers=4)).target == target


def test_since_when_the_numbers_are_at_rest() -> None:
    """Counted from the change of either number; what is seen first may have changed just now."""
    settling, other = ReplicaStabilityTracker(), RunId("team", "other", "uid-2")
    assert settling.record(KEY, 0, 2, 10) == ReplicaStability(0, math.inf)
    assert settling.record(KEY, 0, 2, 11) == ReplicaStability(1, math.inf)
    assert settling.record(KEY, 1, 2, 12) == ReplicaStability(0, math.inf)
    assert settling.record(KEY, 1, 1, 13) == ReplicaStability(0, 0)
    assert settling.record(KEY, 1, 1, 15) == ReplicaStability(2, 2)
    assert settling.record(other, 1, 1, 15) == ReplicaStability(0, math.inf)
    settling.forget(KEY)
    assert settling.record(KEY, 1, 1, 20) == ReplicaStability(0, math.inf)


@pytest.mark.parametrize(
    "text", ["", "5", "{}", '{"workers": "5"}', '{"workers": true}', '{"workers": 1, "retired": 3}']
)
def test_demand_is_none_when_the_annotation_is_invalid(text: str) -> None:
    """Each client with rights to the Lease can write the annotation."""
    assert Demand.from_json(text) is None


def test_demand_is_equal_after_writing_and_parsing() -> None:
    """The agent writes it and the operator parses it."""
    demand: Any = Demand(3, ("a", "b"))
    assert Demand.from_json(demand.to_json()) == demand


@pytest.mark.parametrize(
    ("is_noticed", "same", "expected"),
    [(True, 0, (5, None)), (False, 0, (None, PATIENCE_SECONDS)), (False, PATIENCE_SECONDS, (5, None))],
    ids=["noticed", "new", "unmarked"],
)
def test_number_changes_when_the_upstream_operator_notices_it(
    is_noticed: bool, same: float, expected: tuple[int | None, float | None]
) -> None:
    """Work can come when the scheduler is there and the worker group is not."""
    found = seen(0, 0, stability=ReplicaStability(same, math.inf))
    assert found.cluster is not None
    if not is_noticed:
        del found.cluster["metadata"]["annotations"]

    assert step(found, 5) == expected

"""Whatever happens on the way, a cluster gets to its target, and no worker that may have work is deleted."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api.lease import Demand
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete, SetWorkers
from flowcluster_operator.model.workers import ReplicaStability, Scale
from flowcluster_operator.policies.replicas import MADE_SECONDS, next_replicas
from flowcluster_operator.trackers.replica_stability import ReplicaStabilityTracker
from tests.support.makers import KEY, cluster, deployment, lease, observed, pod, spec

TARGETS = st.integers(0, 4)
CLUSTER = cluster()


@dataclasses.dataclass
class Rig:
    """A DaskCluster, dask-kubernetes as it was observed on a live cluster, and a driver.

    dask-kubernetes acts when the number changed since it looked last: it creates workers up to the number.

    Attributes:
        requested: the number in the DaskCluster.
        looked: the number when dask-kubernetes looked last.
        workers: the workers by their numbers, and whether each has started.
        retired: those that the driver has retired.
        now: seconds.
    """

    requested: int
    looked: int = 0
    workers: dict[int, bool] = dataclasses.field(default_factory=dict)
    retired: set[int] = dataclasses.field(default_factory=set)
    now: float = 0.0
    made: int = 0
    settling: ReplicaStabilityTracker = dataclasses.field(default_factory=ReplicaStabilityTracker)

    def look(self) -> None:
        """Let dask-kubernetes look."""
        if self.requested != self.looked:
            for _ in range(self.requested - len(self.workers)):
                self.made += 1
                self.workers[self.made] = False
        self.looked = self.requested

    def retire(self, target: int) -> None:
        """Let the driver retire the started workers that are too many."""
        working = [number for number, started in self.workers.items() if started and number not in self.retired]
        self.retired.update(working[: max(len(self.workers) - target, 0)])

    def step(self, target: int) -> float | None:
        """Let the operator take a step; seconds until it looks again. Fails where the step does harm."""
        stability = self.settling.record(KEY, len(self.workers), self.requested, self.now)
        plan = next_replicas(self._observed(stability), DaskBackend(), Scale(0, 4, target))
        for action in plan.actions:
            if isinstance(action, Delete):
                number = int(action.name.removeprefix("worker-w"))
                is_surplus = not self.workers[number] and len(self.workers) > target
                assert number in self.retired or is_surplus
                del self.workers[number]
            else:
                assert isinstance(action, SetWorkers)
                assert isinstance(action.patch, dict)
                self.requested = action.patch["spec"]["worker"]["replicas"]
                assert self.requested >= len(self.workers)
        return plan.requeue

    def _observed(self, stability: ReplicaStability) -> Observed:
        body = {**CLUSTER, "spec": {"worker": {"replicas": self.requested}}}
        demand = Demand(0, tuple(f"worker-w{number}" for number in sorted(self.retired)))
        return observed(
            spec(flow=False),
            cluster=body,
            deployments=(deployment(), *(deployment("worker", number=number) for number in self.workers)),
            pods=[
                pod("worker", name=f"worker-w{number}-x-y", uid=f"p{number}")
                for number, started in self.workers.items()
                if started
            ],
            lease=lease("laptop"),
            driver=DriverHeartbeat("laptop", None, 1, 0, demand),
            stability=stability,
        )


#: What happens before a step: seconds that pass, whether dask-kubernetes looks, whether workers start, and whether the
#: driver retires some.
EVENTS = st.tuples(st.sampled_from([0.0, 0.5, 1.5, 11.0]), st.booleans(), st.booleans(), st.booleans())


def happen(rig: Rig, target: int, event: tuple[float, bool, bool, bool]) -> None:
    """Let an event happen, and the operator take a step."""
    seconds, looks, start, retires = event
    rig.now += seconds
    if looks:
        rig.look()
    if start:
        rig.workers = dict.fromkeys(rig.workers, True)
    if retires:
        rig.retire(target)
    rig.step(target)


@given(TARGETS, st.lists(st.tuples(TARGETS, EVENTS), max_size=8), TARGETS)
def test_cluster_gets_to_its_target(
    initial: int, history: list[tuple[int, tuple[float, bool, bool, bool]]], target: int
) -> None:
    rig = Rig(requested=initial)
    for earlier, event in history:
        happen(rig, earlier, event)
    for _ in range(10):
        rig.look()
        rig.retire(target)
        wait = rig.step(target)
        rig.now += MADE_SECONDS if wait is None else wait

    assert (len(rig.workers), rig.requested) == (target, target)


@given(st.lists(st.tuples(TARGETS, EVENTS), min_size=1, max_size=12))
def test_cluster_at_its_target_is_left_alone(history: list[tuple[int, tuple[float, bool, bool, bool]]]) -> None:
    rig = Rig(requested=2, looked=2, workers={1: True, 2: True}, made=2)
    for _, (seconds, *_) in history:
        rig.now += seconds
        rig.step(2)

    assert (rig.workers, rig.requested) == ({1: True, 2: True}, 2)


@given(TARGETS, EVENTS)
def test_busy_workers_stay_when_they_are_too_many(target: int, event: tuple[float, bool, bool, bool]) -> None:
    """The driver retires those that are idle, and names them."""
    rig = Rig(requested=4, looked=4, workers=dict.fromkeys(range(1, 5), True), made=4)
    happen(rig, target, (*event[:3], False))

    assert len(rig.workers) == 4

"""When a run has been idle for longer than `spec.idleTimeoutSeconds`, and how it ends then."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster_api.driver import ENV_CLUSTER_IDLE_TIMEOUT
from flowcluster_api.lease import Demand
from flowcluster_api.progress import ANNOTATION_PROGRESS, Progress, Tasks
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.policies.idleness import CONFIRMED_SECONDS
from flowcluster_operator.reconcile import observe_driver as observe_driver_module
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.resources import LEASE, Object
from tests.support.fake_api import FakeApi
from tests.support.makers import (
    KEY,
    NOW,
    SETTINGS,
    ago,
    deployment,
    ended,
    job,
    lease,
    observed,
    outcome,
    pod,
    run,
    spec,
)
from tests.support.observing import Rig
from tests.support.plans import CHILDREN, READY_PODS

TIMEOUT = 300
DRIVER = pod("driver")
HOLDER = f"{DRIVER['metadata']['name']}/7"
IDLE = DriverHeartbeat(
    HOLDER, None, 1, 0, None, Progress(Tasks(5, 0, 5, 0), TIMEOUT), idle_confirmed_for=CONFIRMED_SECONDS
)  # fmt: skip
RUNNING: Object = {"phase": "Running", "startTime": ago(900), "readyTime": ago(890)}
DEPLOYMENTS = (deployment(), *(deployment("worker", number=number) for number in (1, 2)))


def body(**fields: Any) -> dict[str, Any]:
    """A spec of a flow on two workers that can be idle for `TIMEOUT` seconds."""
    return {**spec(), "idleTimeoutSeconds": TIMEOUT, **fields}


def seen(signs: DriverHeartbeat | None = IDLE, fields: Any = None, **more: Any) -> Observed:
    """A run whose driver reports that."""
    world: dict[str, Any] = {
        **CHILDREN,
        "deployments": DEPLOYMENTS,
        "status": RUNNING,
        "pods": [*READY_PODS, DRIVER],
        **more,
    }
    return observed(fields or body(), driver=signs, **world)


def plan(signs: DriverHeartbeat | None = IDLE, fields: Any = None, **more: Any) -> Plan:
    return decide(seen(signs, fields, **more), SETTINGS, NOW)


def phase(made: Plan) -> str | None:
    """The phase after a plan; that of `RUNNING` when nothing is written."""
    return "Running" if made.status is None else str(made.status["phase"])


def test_idle_flow_fails_with_the_field_in_the_message() -> None:
    status = plan().status

    assert status is not None
    assert (status["phase"], status["finalPhase"], status["reason"]) == ("Stopping", "Failed", "IdleTimeoutExceeded")
    assert status["message"] == f"nothing has run on the cluster for {TIMEOUT} s (spec.idleTimeoutSeconds)"
    assert status["flow"]["tasks"]["completed"] == 5


def test_idle_cluster_of_a_driver_elsewhere_is_cancelled() -> None:
    """Nothing has failed: no flow was cut off by it."""
    fields = {**spec(flow=False), "idleTimeoutSeconds": TIMEOUT}
    status = plan(IDLE._replace(holder="laptop/1"), fields, job=None, access=(), pods=READY_PODS).status

    assert status is not None
    assert (status["phase"], status["finalPhase"], status["reason"]) == ("Stopping", "Cancelled", "IdleTimeoutExceeded")


def reporting(**changes: Any) -> DriverHeartbeat:
    return IDLE._replace(**changes)


CHILD = run(spec(flow=False), {"phase": "Running"}, name="part", uid="uid-part")
OVER = run(spec(flow=False), {"conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded"}]})
RAY = {"kind": "Ray", "workers": {"minimum": 2, "maximum": 4}}
#: Runs that go on, and why.
GOING: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "no timeout": (IDLE, {**spec()}, {}),
    "idle for less long": (reporting(progress=Progress(None, TIMEOUT - 1)), None, {}),
    "idleness not confirmed": (reporting(idle_confirmed_for=CONFIRMED_SECONDS - 1), None, {}),
    "driver without a Lease": (None, None, {}),
    "driver that reports nothing": (reporting(progress=None), None, {}),
    "driver that reports its counts only": (reporting(progress=Progress(Tasks(5, 0, 5, 0))), None, {}),
    "demand for workers": (reporting(demand=Demand(3)), None, {}),
    "demand for the first worker": (
        reporting(demand=Demand(1)),
        body(cluster={"kind": "Dask", "workers": {"minimum": 0, "maximum": 4}}),
        {},
    ),
    "report of an attempt that ended": (reporting(holder="another-pod/7"), None, {}),
    "child run that goes on": (IDLE, None, {"child_runs": (OVER, CHILD)}),
    "no cluster": (IDLE, {**body(), "cluster": None}, {"cluster": None, "deployments": (), "pods": [DRIVER]}),
    "cluster of another owner": (IDLE, body(cluster={"kind": "Dask", "ref": {"name": "shared"}}), {"cluster": None}),
    "never ready": (IDLE, None, {"status": {"phase": "Starting", "startTime": ago(10)}, "pods": [DRIVER]}),
    "Ray with workers above the minimum": (
        IDLE,
        body(cluster={"kind": "Ray", "workers": {"minimum": 1, "maximum": 4}}),
        {"pods": [pod("head"), *READY_PODS[1:], DRIVER], "deployments": (), "cluster": None, "job": job()},
    ),
}


@pytest.mark.parametrize("case", GOING)
def test_run_that_works_or_may_work_goes_on(case: str) -> None:
    signs, fields, more = GOING[case]

    assert phase(plan(signs, fields, **more)) in ("Running", "Starting")


@pytest.mark.parametrize(
    ("signs", "more"),
    [
        (reporting(demand=Demand(0)), {}),
        (reporting(demand=Demand(2)), {}),  # the minimum, which a driver requests without work, too
        (reporting(progress=Progress(None, TIMEOUT)), {}),
        (reporting(progress=Progress(None, 10**6)), {}),
        (IDLE, {"child_runs": (OVER,)}),
    ],
)
def test_run_without_work_ends(signs: DriverHeartbeat, more: dict[str, Any]) -> None:
    assert phase(plan(signs, **more)) == "Stopping"


def test_ray_cluster_with_its_minimum_of_workers_ends() -> None:
    pods = [pod("head"), *READY_PODS[1:], DRIVER]

    assert phase(plan(IDLE, body(cluster=RAY), pods=pods, deployments=(), cluster=None)) == "Stopping"


@pytest.mark.parametrize("verified", [True, False])
def test_suspended_run_is_not_idle(verified: bool) -> None:
    """What is left of its Lease is of the time before."""
    status = {"phase": "Suspended"}
    made = plan(IDLE, body(suspend=True), status=status, verified_gone=verified)

    assert phase(made) in ("Running", "Suspended")


@pytest.mark.parametrize(
    ("state", "final"), [(ended(0, outcome()), "Succeeded"), (ended(1, outcome("Failed", "FlowFailed")), "Failed")]
)
def test_outcome_of_the_flow_wins_over_its_idleness(state: Any, final: str) -> None:
    pods = [*READY_PODS, pod("driver", state, phase="Succeeded")]
    status = plan(pods=pods).status

    assert status is not None
    assert (status["finalPhase"], status["reason"] == "IdleTimeoutExceeded") == (final, False)


def test_idleness_is_looked_at_again_soon_until_it_is_confirmed() -> None:
    made = plan(reporting(idle_confirmed_for=0.0))

    assert made.requeue is not None
    assert made.requeue <= 1


def frozen_at(now: float) -> SimpleNamespace:
    """An asyncio whose event loop has a clock that stands still."""
    loop = SimpleNamespace(time=lambda: now)
    return SimpleNamespace(get_running_loop=lambda: loop)


class TestConfirmation:
    """The API server has to confirm for some seconds that the driver reports no work."""

    @pytest.fixture
    def rig(self, api: FakeApi, kube: Kube) -> Rig:
        """A run that works."""
        rig = Rig(api, kube)
        rig.known(run(body(), RUNNING))
        return rig

    def held(self, idle: int, number: int = 0) -> Object:
        """The Lease after a renewal of that number, which reports that idleness."""
        found = lease(HOLDER)
        found["metadata"]["annotations"] = {ANNOTATION_PROGRESS: Progress(None, idle).to_json()}
        found["spec"]["renewTime"] = f"2026-01-01T12:00:{number:02}Z"
        return found

    async def confirmed(self, rig: Rig, held: list[Object], monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Observe each second, with these Leases on the API server one after the other; for how long idle then.

        The operator's watch is late by one of them.
        """
        clock = itertools.count()
        found = []
        rig.known(held[0])
        rig.there(held[0])
        for each in held:
            rig.api.objects.merge(LEASE, KEY.namespace, each["metadata"]["name"], {
                "metadata": {"annotations": each["metadata"]["annotations"]}, "spec": each["spec"],
            })  # fmt: skip
            with monkeypatch.context() as patched:
                patched.setattr(observe_driver_module, "asyncio", frozen_at(next(clock)))
                driver = (await rig.observe()).driver
            assert driver is not None
            found.append(driver.idle_confirmed_for)
            rig.known(rig.api.objects.get(LEASE, KEY.namespace, each["metadata"]["name"]))
        return found

    async def test_it_grows_while_the_driver_reports_no_work(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also across heartbeats."""
        held = [self.held(TIMEOUT + number, number) for number in range(6)]

        assert await self.confirmed(rig, held, monkeypatch) == [0, 1, 2, 3, 4, 5]

    async def test_it_begins_again_after_work(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        idle = [TIMEOUT, TIMEOUT, 0, TIMEOUT, TIMEOUT, TIMEOUT]
        held = [self.held(seconds, number) for number, seconds in enumerate(idle)]

        assert await self.confirmed(rig, held, monkeypatch) == [0, 1, 0, 0, 0, 1]

    async def test_it_begins_at_nothing_after_a_restart(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the operator finds when it was away may be old: a driver that reaches the API server says more."""
        assert (await self.confirmed(rig, [self.held(10**6)], monkeypatch)) == [0]

    async def test_run_that_is_not_idle_needs_no_request(self, rig: Rig) -> None:
        rig.known(self.held(TIMEOUT - 1), job())
        await rig.observe()

        assert LEASE not in [request.resource for request in rig.api.requests]


@pytest.mark.parametrize(
    ("cluster", "timeout", "found"),
    [
        ({"kind": "Dask"}, 300, "300"),
        ({"kind": "Dask"}, None, None),
        ({"kind": "Dask", "ref": {"name": "shared"}}, 300, None),
        ({"kind": "Ray"}, 300, None),
    ],
)
def test_driver_looks_at_the_scheduler_of_its_own_cluster_only(cluster: Any, timeout: Any, found: Any) -> None:
    """A look at a cluster has surplus workers retire: those of another owner's cluster must stay."""
    fields = FlowRunSpec.model_validate({**spec(), "cluster": cluster, "idleTimeoutSeconds": timeout})
    made = driver_job(KEY, fields, SETTINGS, "keys", "tls://scheduler:8786")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}

    assert environment.get(ENV_CLUSTER_IDLE_TIMEOUT) == found

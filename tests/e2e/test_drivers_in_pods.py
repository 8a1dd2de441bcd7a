"""Drivers that the operator started: they renew a Lease, report demand for workers, and request child runs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World

pytestmark = pytest.mark.timeout(240)

FLOW_RUNS = f"{names.PLURAL}.{names.GROUP}"
ADAPTIVE = {"kind": "Dask", "workers": {"minimum": 0, "maximum": 3}}


def bounds(world: World, name: str) -> tuple[int, int]:
    """Return the least and the largest number of workers in a run's spec."""
    run = world.run(name)
    assert run is not None
    workers = run["spec"]["cluster"]["workers"]
    return workers["minimum"], workers["maximum"]


def started(world: World, entrypoint: str, parameters: Any = None, **more: Any) -> str:
    """Start a flow, and return the name of its run. `more` are fields of the FlowRun's spec."""
    flow = world.flow(entrypoint, parameters=parameters or {})
    name = entrypoint.rpartition(":")[2]
    return str(world.create(FlowRun(name, flow, None, more).body())["metadata"]["name"])


def test_workers_scale_with_the_work_of_a_driver_in_a_pod(world: World) -> None:
    """There is no worker without work, as many as the work needs, and again none while the flow continues."""
    name = started(world, "annotated.py:wave", cluster=ADAPTIVE)
    world.wait_phase(name, "Running")
    assert world.live_workers() == 0

    world.annotate(name, "work")
    wait_until(lambda: world.live_workers() == 3, "three workers were requested", 30)
    wait_until(lambda: world.status(name)["cluster"]["peakWorkers"] == 3, "three workers are ready", 60)
    world.annotate(name, "release")
    wait_until(lambda: world.live_workers() == 0, "all are gone", 60)
    assert world.status(name)["phase"] == "Running"

    world.annotate(name, "end")
    status = world.wait_phase(name, "Succeeded")
    assert status["flow"]["result"] == "[0,1,2,3,4,5]"
    assert status["cluster"]["peakWorkers"] == 3
    assert world.everything() == []


def test_task_counts_of_a_running_flow_are_in_its_status(world: World) -> None:
    """The driver reports them with its heartbeats."""

    def tasks() -> dict[str, int]:
        found: dict[str, int] = (world.status(name).get("flow") or {}).get("tasks") or {}
        return found

    name = started(world, "annotated.py:wave", cluster=ADAPTIVE)
    world.annotate(name, "work")
    wait_until(lambda: tasks().get("total") == 6, "the task runs are counted", 120)
    assert (tasks()["completed"], tasks()["failed"]) == (0, 0)

    world.annotate(name, "release")
    wait_until(lambda: tasks()["completed"] == 6, "their ends are counted", 120)
    status = world.status(name)
    assert (status["phase"], status["display"]["tasks"]) == ("Running", "6/6")

    world.annotate(name, "end")
    assert world.wait_phase(name, "Succeeded")["flow"]["tasks"]["completed"] == 6


def test_idle_run_ends_and_not_while_its_tasks_run(world: World) -> None:
    """The tasks run for longer than the timeout. After them, the flow waits for an annotation that is never set."""
    name = started(world, "annotated.py:wave", cluster=ADAPTIVE, idleTimeoutSeconds=10)
    world.annotate(name, "work")
    world.wait_phase(name, "Running")
    wait_until(lambda: world.status(name)["cluster"]["peakWorkers"] == 3, "the tasks run", 90)
    until = time.monotonic() + 20
    wait_until(lambda: time.monotonic() > until, "they have run for longer than the timeout", 30)
    assert world.status(name)["phase"] == "Running"

    world.annotate(name, "release")
    status = world.wait_phase(name, "Failed")
    assert status["reason"] == "IdleTimeoutExceeded"
    assert status["flow"]["tasks"]["completed"] == 6
    assert world.everything() == []


def test_driver_in_a_pod_sends_heartbeats(world: World) -> None:
    """Its pod renews the run's Lease. Its only other right is to read the FlowRun."""
    name = started(world, "endless.py:waits")
    holder = wait_until(lambda: world.holder(name), "the driver renews the Lease", 60)
    (pod,) = world.pods("driver")
    assert str(holder).startswith(f"{pod.metadata.name}/")

    account = pod.spec.service_account_name
    assert world.may(account, "patch", "leases.coordination.k8s.io", world.leases()[0])
    assert world.may(account, "get", FLOW_RUNS, name)
    for verb, resource, other in (
        ("patch", "leases.coordination.k8s.io", "another"),
        ("create", FLOW_RUNS, ""),
        ("patch", FLOW_RUNS, name),
        ("delete", FLOW_RUNS, name),
        ("list", FLOW_RUNS, ""),
        ("create", "pods", ""),
        ("get", "secrets", ""),
    ):
        assert not world.may(account, verb, resource, other), (verb, resource)
    world.delete(name)


@pytest.mark.parametrize("is_short", [True, False])
def test_child_run_of_a_subflow_ends_with_the_subflow_or_with_the_flow(world: World, is_short: bool) -> None:
    """A subflow's cluster is a child run of the flow's FlowRun."""
    name = started(world, "subflows.py:whole", {"is_short": is_short})

    def part() -> Any:
        return next((run for run in world.runs() if run["metadata"]["name"] != name), None)

    child = wait_until(part, "there is a child run", 60)["metadata"]
    (owner,) = child["ownerReferences"]
    assert owner["name"] == name
    if not is_short:
        world.wait_phase(child["name"], "Running")
        wait_until(lambda: len(world.pods("worker")) == 1, "the subflow has a worker")
        wait_until(lambda: bounds(world, child["name"]) == (1, 2), "the operator changed the bounds as requested", 30)
        world.patch(name, {"cancel": True})

    whole = world.wait_phase(name, "Succeeded" if is_short else "Cancelled")
    ended = world.wait_phase(child["name"], "Succeeded" if is_short else "Cancelled")
    if is_short:
        assert json.loads(whole["flow"]["result"]) == 3
    else:
        assert ended["reason"] == "ParentEnded"
    world.wait_empty(30)


def test_run_ends_when_the_heartbeats_of_its_driver_stop(world: World) -> None:
    """The run ends although the status of the driver's pod is still Running."""
    name = started(world, "endless.py:waits", leaseDurationSeconds=10)
    wait_until(lambda: world.holder(name), "the driver renews the Lease", 60)

    # The state at the API server when a node is cut off: nothing is renewed, and the pod's status does not change.
    (binding,) = world.rbac.list_namespaced_role_binding(world.namespace).items
    world.rbac.delete_namespaced_role_binding(binding.metadata.name, world.namespace)
    began = time.monotonic()
    status = world.wait_phase(name, "Failed", seconds=40)

    assert status["reason"] == "DriverLost"
    assert "spec.leaseDurationSeconds" in status["message"]
    assert time.monotonic() - began < 10 + 10

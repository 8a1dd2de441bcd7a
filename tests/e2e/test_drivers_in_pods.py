"""Drivers that the operator started: they keep a Lease, their clusters follow the work, they may ask for more runs."""

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

#: Works when it is told to, and ends when it is told to: by annotations of its own FlowRun, which it may read.
WAVE = """
import os, time
from flowcluster import flow, task
from flowcluster.kube.access import connect
from flowcluster.kube.choice import Choice
from flowcluster.kube.flow_runs import FlowRuns

def until(word):
    flow_runs = FlowRuns(connect(Choice()))
    while word not in flow_runs.get(os.environ["FLOWCLUSTER_RUN_NAME"])["metadata"].get("annotations", {}):
        time.sleep(0.2)

@task
def slow(number):
    time.sleep(4)
    return number

@flow
def wave():
    until("work")
    results = [future.result() for future in slow.map(range(6))]
    until("end")
    return results
"""

WAITS = """
import time
from flowcluster import flow

@flow
def waits():
    time.sleep(600)
"""

PARENT = """
from flowcluster import flow, task
from flowcluster.clusters import DaskKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner

@task
def add(one, other):
    return one + other

@task
def nap():
    import time
    time.sleep(600)

own = DaskTaskRunner(cluster_class=DaskKubernetesCluster, cluster_kwargs={"n_workers": 1})

@flow(task_runner=own)
def part(is_short):
    return add.submit(1, 2).result() if is_short else nap.submit().result()

@flow
def whole(is_short):
    return part(is_short)
"""


def started(world: World, code: str, entrypoint: str, parameters: Any = None, **more: Any) -> str:
    """Start the flow `entrypoint` of `code`; name of its run. `more` are fields of the FlowRun's spec."""
    flow = {"entrypoint": f"flow.py:{entrypoint}", "parameters": parameters or {}, "source": world.code(code)}
    return str(world.create(FlowRun(entrypoint, flow, None, more).body())["metadata"]["name"])


def workers(world: World) -> int:
    """Pods of workers that are to stay."""
    return sum(pod.metadata.deletion_timestamp is None for pod in world.pods("worker"))


def test_workers_follow_the_work_of_a_driver_in_a_pod(world: World) -> None:
    """None while nothing is to be done, as many as the work needs, and none again while the flow goes on."""
    name = started(world, WAVE, "wave", cluster=ADAPTIVE)
    world.wait_phase(name, "Running")
    assert workers(world) == 0

    world.annotate(name, "work")
    wait_until(lambda: workers(world) == 3, "three workers were asked for", 30)
    wait_until(lambda: workers(world) == 0, "all are gone", 60)
    assert world.status(name)["phase"] == "Running"

    world.annotate(name, "end")
    status = world.wait_phase(name, "Succeeded")
    assert status["flow"]["result"] == "[0,1,2,3,4,5]"
    assert status["cluster"]["peakWorkers"] == 3
    assert world.everything() == []


def test_a_driver_in_a_pod_is_heard(world: World) -> None:
    """Its pod renews the run's Lease, with rights to nothing else but to ask for FlowRuns."""
    name = started(world, WAITS, "waits")
    holder = wait_until(lambda: world.holder(name), "the driver is heard", 60)
    (pod,) = world.pods("driver")
    assert str(holder).startswith(f"{pod.metadata.name}/")

    account = pod.spec.service_account_name
    assert world.may(account, "patch", "leases.coordination.k8s.io", world.leases()[0])
    assert world.may(account, "create", FLOW_RUNS)
    for verb, resource, other in (
        ("patch", "leases.coordination.k8s.io", "another"),
        ("patch", FLOW_RUNS, name),
        ("delete", FLOW_RUNS, name),
        ("list", FLOW_RUNS, ""),
        ("create", "pods", ""),
        ("get", "secrets", ""),
    ):
        assert not world.may(account, verb, resource, other), (verb, resource)
    world.delete(name)


@pytest.mark.parametrize("is_short", [True, False])
def test_a_part_with_a_cluster_of_its_own(world: World, is_short: bool) -> None:
    """A subflow's cluster is a FlowRun beneath the flow's own: it ends with the part, or with the whole."""
    name = started(world, PARENT, "whole", {"is_short": is_short})

    def part() -> Any:
        return next((run for run in world.runs() if run["metadata"]["name"] != name), None)

    beneath = wait_until(part, "there is a run beneath", 60)["metadata"]
    (owner,) = beneath["ownerReferences"]
    assert owner["name"] == name
    if not is_short:
        world.wait_phase(beneath["name"], "Running")
        wait_until(lambda: len(world.pods("worker")) == 1, "the part has a worker")
        world.patch(name, {"cancel": True})

    whole = world.wait_phase(name, "Succeeded" if is_short else "Cancelled")
    ended = world.wait_phase(beneath["name"], "Succeeded" if is_short else "Cancelled")
    if is_short:
        assert json.loads(whole["flow"]["result"]) == 3
    else:
        assert ended["reason"] == "ParentEnded"
    world.wait_empty(30)


def test_a_driver_whose_node_does_not_answer(world: World) -> None:
    """A driver that nobody hears any more ends its run, though its pod seems to run."""
    name = started(world, WAITS, "waits", leaseDurationSeconds=10)
    wait_until(lambda: world.holder(name), "the driver is heard", 60)

    # As it looks from the API server when a node is cut off: nothing is renewed, and the pod's status stays as it was.
    (binding,) = world.rbac.list_namespaced_role_binding(world.namespace).items
    world.rbac.delete_namespaced_role_binding(binding.metadata.name, world.namespace)
    began = time.monotonic()
    status = world.wait_phase(name, "Failed", seconds=40)

    assert status["reason"] == "DriverLost"
    assert "spec.leaseDurationSeconds" in status["message"]
    assert time.monotonic() - began < 10 + 10

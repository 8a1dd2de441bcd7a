"""Whole runs, from the manifest to the record, checked by the objects that the API server lists."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.support.world import FLOWS, FlowRun, World
from tools.install import Installed

pytestmark = pytest.mark.timeout(240)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def test_greetings_run_on_a_cluster_of_their_own(world: World) -> None:
    """The greetings sample succeeds on its Dask cluster, and leaves only its record."""
    status = world.wait_phase(world.apply_sample("greetings"), "Succeeded", "Failed")

    assert status["phase"] == "Succeeded", status["message"]
    assert status["flow"]["tasks"] == {"total": 8, "running": 0, "completed": 8, "failed": 0}
    # Tasks run as soon as one of the two workers is Ready, and the flow can end before the other one is.
    assert status["cluster"]["peakWorkers"] in (1, 2)
    began, deleted = (dt.datetime.fromisoformat(status[field]) for field in ("startTime", "clusterDeletedTime"))
    assert 1 <= status["cluster"]["workerSeconds"] <= 2 * (deleted - began).total_seconds()
    assert status["display"] == {"workers": "0/0", "tasks": "8/8"}
    assert conditions(status)["Finished"] == ("True", "Succeeded")
    assert conditions(status)["ClusterDeleted"] == ("True", "NothingLeft")
    assert conditions(status)["Stalled"][0] == "False"
    assert [entry["reason"] for entry in status["story"]][:1] == ["Creating"]


def test_flow_without_a_cluster_runs_in_its_driver(world: World) -> None:
    """No DaskCluster is created for a run whose spec has no cluster."""
    name = world.apply_sample("no-cluster")
    status = world.wait_phase(name, "Succeeded", "Failed")

    assert status["phase"] == "Succeeded", status["message"]
    assert json.loads(status["flow"]["result"]) == [1, 4, 9]
    assert "cluster" not in status


def test_kubectl_wait_returns_when_a_run_is_over(world: World, installed: Installed) -> None:
    world.create(FlowRun("run", world.flow("outcomes.py:bad"), workers=None).body())
    command = [str(installed.kubectl), "--kubeconfig", str(installed.kubeconfig), "-n", world.namespace]
    waits = ["wait", "--for=condition=Finished", "flowrun/run", "--timeout=120s"]
    done = subprocess.run([*command, *waits], capture_output=True, text=True)

    assert done.stdout == "flowrun.flowcluster.dev/run condition met\n", done.stderr
    assert world.status("run")["reason"] == "FlowFailed"
    world.wait_phase("run", "Failed")


@pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])
def test_workers_have_the_other_files_of_the_config_map(world: World, kind: str) -> None:
    source = world.code(FLOWS / "of_two_files.py", FLOWS / "of_two_files_prices.py")
    flow = {"entrypoint": "of_two_files.py:price_list", "source": source}
    cluster = {"kind": kind, "workers": {"minimum": 1, "maximum": 1}}
    world.create(FlowRun("run", flow, None, {"cluster": cluster}).body())
    status = world.wait_phase("run", "Succeeded", "Failed", seconds=180)

    assert status["phase"] == "Succeeded", status["message"]
    assert json.loads(status["flow"]["result"]) == [11.9, 23.8, 35.7]


def test_failed_tasks_fail_the_run(world: World) -> None:
    """The failing sample's record names the failed task's error."""
    status = world.wait_phase(world.apply_sample("failing"), "Succeeded", "Failed")

    assert (status["phase"], status["reason"]) == ("Failed", "TasksFailed")
    assert "ZeroDivisionError" in status["message"]
    assert conditions(status)["Stalled"] == ("True", "TasksFailed")


@pytest.mark.parametrize(
    ("function", "more", "reason", "words", "code"),
    [
        ("bad", {}, "FlowFailed", ["ValueError", "the answer is not 42"], 1),
        ("leaves", {}, "FlowExited", ["sys.exit(3)"], 3),
        ("absent", {}, "EntrypointNotFound", ["absent"], 222),
        ("good", {"parameters": {"y": 1}}, "InvalidParameters", ["y"], 222),
        ("good", {"parameters": {"x": "much"}}, "InvalidParameters", ["x"], 222),
    ],
)
def test_record_has_the_reason_and_message_of_the_end(
    world: World, function: str, more: dict[str, Any], reason: str, words: list[str], code: int
) -> None:
    """An exception, `sys.exit`, an unknown function and wrong parameters each have their own reason and message."""
    world.create(FlowRun(flow=world.flow(f"outcomes.py:{function}", **more), workers=None).body())
    status = world.wait_phase("run", "Succeeded", "Failed")

    assert (status["phase"], status["reason"]) == ("Failed", reason)
    assert status["flow"]["exitCode"] == code
    for word in words:
        assert word in status["message"]


def test_status_names_an_image_that_does_not_exist_until_the_run_fails(world: World) -> None:
    """The cause is in the status within 10 s, and in the message of the run that fails at its start deadline."""
    body = FlowRun(
        flow=world.flow("outcomes.py:good", image="registry.invalid/no/such:image"), more={"startDeadlineSeconds": 15}
    ).body()
    world.create(body)
    pulling = wait_until(
        lambda: (status := world.status("run")).get("reason") in ("ErrImagePull", "ImagePullBackOff") and status,
        "the status has the cause",
        10,
    )
    assert isinstance(pulling, dict)
    assert pulling["phase"] == "Starting"
    assert "spec.flow.image" in pulling["message"]

    status = world.wait_phase("run", "Succeeded", "Failed")
    assert status["phase"] == "Failed"
    assert status["reason"] in ("ErrImagePull", "ImagePullBackOff")
    assert "spec.startDeadlineSeconds" in status["message"]


def test_status_names_workers_that_fit_on_no_node_until_the_run_fails(world: World) -> None:
    """The cause names the resource of which the nodes have too little."""
    workers = {"minimum": 1, "maximum": 1, "resources": {"requests": {"cpu": "1000"}}}
    body = FlowRun(
        flow=world.flow("endless.py:naps"),
        more={"cluster": {"kind": "Dask", "workers": workers}, "startDeadlineSeconds": 20},
    ).body()
    world.create(body)
    status = world.wait_phase("run", "Succeeded", "Failed")

    assert (status["phase"], status["reason"]) == ("Failed", "Unschedulable")
    assert "Insufficient cpu" in status["message"]
    assert "spec.cluster.workers.resources" in status["message"]


def test_status_names_the_quota_that_refuses_the_driver(world: World) -> None:
    """The cause is Kubernetes' own message."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    world.core.create_namespaced_resource_quota(world.namespace, quota)
    world.create(FlowRun(flow=world.flow("outcomes.py:good"), workers=None, more={"startDeadlineSeconds": 10}).body())
    status = world.wait_phase("run", "Succeeded", "Failed")

    assert status["phase"] == "Failed"
    assert "exceeded quota" in status["message"]


def test_run_can_be_deleted_and_created_again_under_its_name(world: World) -> None:
    """A run that is deleted and immediately created again is a new run with children of its own."""
    body = FlowRun(flow=world.flow("outcomes.py:good", parameters={"x": 21})).body()
    first = world.create(body)["metadata"]["uid"]
    wait_until(world.dask_clusters, "the first run has a cluster")
    world.delete("run")
    second = world.create(body)["metadata"]["uid"]
    status = world.wait_phase("run", "Succeeded", "Failed")

    assert first != second
    assert status["phase"] == "Succeeded", status["message"]
    assert status["flow"]["result"] == "42"


@pytest.mark.parametrize("count", [4, pytest.param(10, marks=pytest.mark.long)])
def test_runs_that_are_created_together_all_succeed(world: World, count: int) -> None:
    for number in range(count):
        described = world.flow("outcomes.py:good", parameters={"x": number})
        small = {"requests": {"cpu": "10m"}}
        cluster = {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1, "resources": small}}
        world.create(FlowRun(name=f"run-{number}", flow=described, more={"cluster": cluster}).body())
    for number in range(count):
        status = world.wait_phase(f"run-{number}", "Succeeded", "Failed", seconds=200)

        assert status["phase"] == "Succeeded", status["message"]
        assert status["flow"]["result"] == str(2 * number)


def test_record_is_deleted_after_its_ttl(world: World) -> None:
    """`ttlSecondsAfterFinished: 0` deletes the FlowRun once everything else is gone."""
    world.create(FlowRun(flow=world.flow("outcomes.py:good"), workers=None, more={"ttlSecondsAfterFinished": 0}).body())

    wait_until(lambda: not world.runs(), "the record is gone", 60)


def test_suspended_run_has_no_children_until_it_is_resumed(world: World) -> None:
    """While `suspend` is true nothing exists. After that the run starts as any other."""
    world.create(FlowRun(flow=world.flow("outcomes.py:good"), workers=None, more={"suspend": True}).body())
    world.wait_phase("run", "Suspended")
    assert world.everything() == []

    world.patch("run", {"suspend": False})
    assert world.wait_phase("run", "Succeeded", "Failed")["phase"] == "Succeeded"


def test_running_run_can_be_suspended_and_resumed(world: World) -> None:
    """All its children are deleted, and the run does not end. When it is resumed, it starts from the beginning."""
    world.create(FlowRun(flow=world.flow("endless.py:naps")).body())
    world.wait_phase("run", "Running")
    world.patch("run", {"suspend": True})
    world.wait_phase("run", "Suspended")
    world.wait_empty(30)
    assert world.status("run")["phase"] == "Suspended"
    world.patch("run", {"suspend": False})
    world.wait_phase("run", "Running")
    world.end("run", "cancel")


def test_failed_driver_is_started_again(world: World) -> None:
    """With backoffLimit 1 a failing flow is tried twice on the same cluster, and then the run is Failed."""
    world.create(FlowRun(flow=world.flow("outcomes.py:bad", backoffLimit=1)).body())
    wait_until(lambda: len(world.pods("driver")) == 2, "a second attempt is made", 150)
    (cluster,) = world.dask_clusters()
    assert world.status("run")["phase"] in ("Starting", "Running")
    assert world.status("run")["cluster"]["name"] == cluster["metadata"]["name"]

    status = world.wait_phase("run", "Succeeded", "Failed")
    assert (status["phase"], status["reason"]) == ("Failed", "FlowFailed")
    assert status["flow"]["attempts"] == 2


def test_referenced_cluster_is_used_and_not_changed(world: World) -> None:
    """A run on another run's cluster uses it. The cluster runs on afterwards."""
    world.create(FlowRun(name="shared", workers=1).body())
    world.wait_phase("shared", "Running")
    (before,) = world.dask_clusters()
    shared = {"kind": "Dask", "ref": {"name": before["metadata"]["name"]}}
    world.create(
        FlowRun(flow=world.flow("outcomes.py:good", parameters={"x": 4}), more={"cluster": shared}, workers=None).body()
    )
    status = world.wait_phase("run", "Succeeded", "Failed")
    (after,) = world.dask_clusters()

    assert (status["phase"], status["flow"]["result"]) == ("Succeeded", "8")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]

    world.create(FlowRun("guest", world.flow("endless.py:naps"), None, {"cluster": shared}).body())
    world.wait_phase("guest", "Running")
    world.patch("shared", {"cancel": True})
    wait_until(lambda: world.status("guest").get("reason") == "ClusterLost", "the loss ends the run that used it", 10)
    assert f"DaskCluster {before['metadata']['name']}" in world.status("guest")["message"]
    world.wait_phase("shared", "Cancelled")
    world.wait_phase("guest", "Failed")

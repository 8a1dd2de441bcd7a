"""The status names mistakes in manifests, and manifests as companies write them work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.waiting import wait_until
from tests.support.world import FLOWS, FlowRun, World
from tools.install import Installed

pytestmark = pytest.mark.timeout(300)

MANIFESTS = Path(__file__).parent / "manifests"
RAY_IS_LONG = pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])


def apply(world: World, name: str, *codes: str, **texts: Any) -> None:
    """Create the objects of a manifest, with the files of its flows and these texts replaced."""
    for code in codes:
        world.code(FLOWS / f"{code}.py")
    text = (MANIFESTS / f"{name}.yaml").read_text()
    for word, value in texts.items():
        text = text.replace(word, str(value))
    for document in yaml.safe_load_all(text):
        world.apply(document)


def succeeded(world: World, seconds: float = 150) -> dict[str, Any]:
    """Wait until the run succeeds, and return its status."""
    status = world.wait_phase("run", "Succeeded", "Failed", seconds=seconds)
    assert status["phase"] == "Succeeded", status
    return status


def named(world: World, name: str, word: str) -> dict[str, Any]:
    """Wait until the message of a run contains the word, and return its status."""

    def found() -> dict[str, Any] | None:
        status = world.status(name)
        return status if word in status.get("message", "") else None

    return wait_until(found, f"{name} names {word}: {world.status(name).get('message')}", 25) or {}


def test_parameters_reach_the_flow_as_they_are_written(world: World) -> None:
    apply(world, "literal-parameters", "literals")
    (document,) = yaml.safe_load_all((MANIFESTS / "literal-parameters.yaml").read_text())

    assert json.loads(succeeded(world)["flow"]["result"]) == document["spec"]["flow"]["parameters"]["texts"]


def test_large_parameters_reach_the_flow(world: World) -> None:
    """They exceed 128 KiB, the limit of an environment variable."""
    texts = {"large": "x" * 300_000}
    world.create(FlowRun(flow=world.flow("literals.py:echo", parameters={"texts": texts}), workers=None).body())

    assert "more than" in succeeded(world)["flow"]["resultOmitted"]


def test_missing_objects_are_named_while_pods_wait_and_when_the_run_fails(world: World) -> None:
    apply(world, "missing-objects", "outcomes")
    absent = {"code": "absent-code", "volume": "absent-volume", "environment": "absent-environment"}
    for name, word in absent.items():
        status = named(world, name, word)
        assert status["phase"] == "Starting"
        assert status["reason"] != "Waiting"
    for name, word in absent.items():
        status = world.wait_phase(name, "Failed")
        assert word in status["message"]


def test_native_sidecars_run_beside_all_parts_of_a_dask_run(world: World, installed: Installed) -> None:
    apply(world, "sidecars", "outcomes", RUNTIME_IMAGE=installed.images["runtime"])

    succeeded(world)


@RAY_IS_LONG
def test_quota_on_limits_admits_every_container_of_a_run(world: World, kind: str) -> None:
    apply(world, "quota-on-limits", "outcomes", CLUSTER_KIND=kind)

    succeeded(world)


def test_parts_killed_at_their_memory_limit_are_named_with_the_field_to_raise(world: World) -> None:
    apply(world, "small-memory", "hogs")
    worker = world.wait_phase("worker", "Failed", seconds=180)
    scheduler = world.wait_phase("scheduler", "Failed", seconds=180)

    (killed,) = (entry["message"] for entry in worker["story"] if entry["reason"] == "OutOfMemory")
    assert "memory limit of 400Mi" in killed
    assert "spec.cluster.workers.resources" in killed
    assert scheduler["reason"] == "ClusterLost"
    assert "memory limit of 320Mi" in scheduler["message"]
    assert "spec.cluster.scheduler.resources" in scheduler["message"]


@RAY_IS_LONG
def test_run_succeeds_with_read_only_root_file_systems_and_unknown_user_ids(world: World, kind: str) -> None:
    leader = {"Dask": "scheduler", "Ray": "head"}[kind]
    apply(world, "locked-down", "places", CLUSTER_KIND=kind, LEADER=leader)

    assert json.loads(succeeded(world)["flow"]["result"]) == [[1000650000, False, True]] * 2


@RAY_IS_LONG
def test_tasks_start_processes_and_keep_pickles_with_read_only_root_file_systems(world: World, kind: str) -> None:
    leader = {"Dask": "scheduler", "Ray": "head"}[kind]
    apply(world, "locked-down", "pools", CLUSTER_KIND=kind, LEADER=leader, places="pools")

    assert json.loads(succeeded(world)["flow"]["result"]) == [2] * 5


@RAY_IS_LONG
def test_args_of_a_workers_template_keep_what_the_cluster_needs(world: World, kind: str) -> None:
    apply(world, f"replaced-args-{kind.lower()}", "outcomes")

    succeeded(world)


def test_field_that_dask_cluster_does_not_know_ends_the_run_by_its_name(world: World) -> None:
    apply(world, "unknown-field")
    status = world.wait_phase("run", "Failed", seconds=30)

    assert status["reason"] == "InvalidTemplate"
    assert "spec.cluster.workers.template.spec.hostUsers" in status["message"]


# tests/unit/operator/test_inherited.py has the objects of Ray, tests/integration/test_live_runs.py what KubeRay makes.
@RAY_IS_LONG
def test_pods_inherit_labels_and_the_pull_secrets_of_the_default_account(world: World, kind: str) -> None:
    """With room to grow on Ray: its head has an account that KubeRay made for the autoscaler."""
    apply(world, "inheriting", "endless", CLUSTER_KIND=kind, MINIMUM=int(kind == "Dask"), MAXIMUM=1)
    world.wait_phase("run", "Running", seconds=150)
    pods = world.pods()
    jobs = world.batch.list_namespaced_job(world.namespace).items
    world.delete("run")

    assert len(pods) >= 2
    assert {tuple(secret.name for secret in pod.spec.image_pull_secrets or ()) for pod in pods} == {("registry-login",)}
    for item in [*pods, *jobs]:
        assert item.metadata.labels["team"] == "research"
        assert item.metadata.annotations["note"] == "hello"
    world.core.delete_namespaced_secret("registry-login", world.namespace)  # the namespace must be empty at the end


def test_flow_that_exits_with_2_is_tried_again(world: World) -> None:
    """Every exit of a flow is retried, except that of a flow that cannot be started."""
    world.create(FlowRun(flow=world.flow("outcomes.py:leaves_with_2", backoffLimit=1), workers=None).body())
    status = world.wait_phase("run", "Failed", seconds=120)

    assert (status["reason"], status["flow"]["exitCode"], status["flow"]["attempts"]) == ("FlowExited", 2, 2)
    assert [entry["reason"] for entry in status["story"]].count("AttemptEnded") == 1


def test_driver_whose_pod_is_evicted_is_started_again(world: World) -> None:
    """A drain of the node evicts it. The run has a backoffLimit of 0: an eviction does not count."""
    world.create(FlowRun(flow=world.flow("endless.py:naps"), workers=None).body())
    world.wait_phase("run", "Running")
    (driver,) = world.pods("driver")
    named = {"name": driver.metadata.name, "namespace": world.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": named}
    world.core.create_namespaced_pod_eviction(driver.metadata.name, world.namespace, eviction)
    wait_until(lambda: world.status("run")["flow"]["attempts"] == 2, "there is a second attempt", 60)

    assert world.status("run")["phase"] == "Running"
    world.end("run", "cancel")

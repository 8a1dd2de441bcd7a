"""Who may speak with a run's cluster: the parts of that run, by keys of their own, and nobody else."""

from __future__ import annotations

import json

import pytest
from kubernetes import client

from flowcluster_api import names
from tests.support.world import FlowRun, World
from tools.install import RELEASE, SYSTEM

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def host(world: World) -> str:
    """A run with a cluster, whose flow goes on until it is told to end."""
    world.create(FlowRun("host", world.flow("annotated.py:host")).body())
    world.wait_phase("host", "Running")
    return "host"


def end(world: World, name: str) -> list[str]:
    """Let the flow end; the addresses that its tasks saw."""
    world.annotate(name, "end")
    found: list[str] = json.loads(world.wait_phase(name, "Succeeded")["flow"]["result"])
    return found


def test_only_the_run_itself_is_let_in(world: World, host: str) -> None:
    """Whoever has not the run's keys is refused: in plain text, without a certificate, and with another run's."""
    address = world.status(host)["cluster"]["address"]
    flow = world.flow("strangers.py:of_dask", parameters={"address": address})
    world.create(FlowRun("stranger", flow, None).body())
    ends: dict[str, str] = json.loads(world.wait_phase("stranger", "Succeeded", "Failed")["flow"]["result"])

    assert len(ends) == 4
    assert {what: said for what, said in ends.items() if not said.startswith("refused: ")} == {}
    assert "CERTIFICATE_REQUIRED" in ends["without a certificate, trusting anybody"]
    assert "UNKNOWN_CA" in ends["with another run's certificate, trusting anybody"]
    seen = end(world, host)
    assert len(seen) == 4
    assert all(found.startswith("tls://") for found in seen)


def test_keys_that_nobody_can_take(world: World, host: str) -> None:
    """They are one Secret, which goes with the run, and neither the operator nor the driver may read it."""
    (secret,) = world.core.list_namespaced_secret(world.namespace).items
    (driver,) = world.pods("driver")
    operator = f"{SYSTEM}:{RELEASE}"
    assert secret.metadata.labels[names.LABEL_RUN] == host
    for verb in ("get", "list", "watch", "delete", "patch", "update"):
        assert not world.may(driver.spec.service_account_name, verb, "secrets", secret.metadata.name)
        assert not world.may(operator, verb, "secrets", secret.metadata.name), verb
    assert world.may(operator, "create", "secrets")

    end(world, host)
    assert world.core.list_namespaced_secret(world.namespace).items == []


def test_a_run_whose_lease_somebody_deletes(world: World, host: str) -> None:
    """Its keys go with it; the run ends, and says why, instead of waiting for workers that can never join."""
    (lease,) = world.leases()
    client.CoordinationV1Api(world.api).delete_namespaced_lease(lease, world.namespace)
    status = world.wait_phase(host, "Failed")

    assert status["reason"] == "ClusterLost"
    assert "Lease was deleted" in status["message"]
    world.wait_empty(30)

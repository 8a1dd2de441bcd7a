"""Access to a run's cluster: only the parts of that run have it, by TLS keys of their own."""

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
    """A run with a cluster, whose flow continues until `end`."""
    world.create(FlowRun("host", world.flow("annotated.py:host")).body())
    world.wait_phase("host", "Running")
    return "host"


def end(world: World, name: str) -> list[str]:
    """Let the flow end, and return the addresses that its tasks saw."""
    world.annotate(name, "end")
    found: list[str] = json.loads(world.wait_phase(name, "Succeeded")["flow"]["result"])
    return found


def test_only_the_run_itself_is_let_in(world: World, host: str) -> None:
    """A client without the run's keys is refused: in plain text, without a certificate, and with another run's."""
    address = world.status(host)["cluster"]["address"]
    flow = world.flow("strangers.py:of_dask", parameters={"address": address})
    world.create(FlowRun("stranger", flow, None).body())
    ends: dict[str, str] = json.loads(world.wait_phase("stranger", "Succeeded", "Failed")["flow"]["result"])

    assert len(ends) == 4
    assert {what: answer for what, answer in ends.items() if not answer.startswith("refused: ")} == {}
    assert "CERTIFICATE_REQUIRED" in ends["without a certificate, without verification"]
    assert "UNKNOWN_CA" in ends["with another run's certificate, without verification"]
    seen = end(world, host)
    assert len(seen) == 4
    assert all(found.startswith("tls://") for found in seen)


def test_only_the_run_can_read_its_keys(world: World, host: str) -> None:
    """They are one Secret, which is deleted with the run. The operator and the driver cannot read it."""
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


def test_run_ends_when_its_lease_is_deleted(world: World, host: str) -> None:
    """Its keys are deleted with the Lease. The run ends with that cause: no worker could join any more."""
    (lease,) = world.leases()
    client.CoordinationV1Api(world.api).delete_namespaced_lease(lease, world.namespace)
    status = world.wait_phase(host, "Failed")

    assert status["reason"] == "ClusterLost"
    assert "Lease was deleted" in status["message"]
    world.wait_empty(30)

"""Who may speak with a run's cluster: the parts of that run, by keys of their own, and nobody else."""

from __future__ import annotations

import json

import pytest
from kubernetes import client

from flowcluster_api import names
from tests.support.world import FlowRun, World
from tools.install import RELEASE, SYSTEM

pytestmark = pytest.mark.timeout(240)

#: One flow that uses its cluster and holds it, and one that knocks at it: the same code, but other runs.
CODE = """
import contextlib, os, ssl, socket, tempfile, time
from flowcluster import flow, task
from flowcluster.kube.access import connect
from flowcluster.kube.choice import Choice
from flowcluster.kube.flow_runs import FlowRuns

@task
def addresses():
    from distributed import get_worker
    return [get_worker().address, get_worker().scheduler.address]

@flow
def host():
    flow_runs = FlowRuns(connect(Choice()))
    before = addresses.submit().result()
    while "end" not in flow_runs.get(os.environ["FLOWCLUSTER_RUN_NAME"])["metadata"].get("annotations", {}):
        time.sleep(0.2)
    return before + addresses.submit().result()

def with_keys(address, folder):
    from distributed import Client, Security
    ca, cert, key = (f"{folder}/{name}" for name in ("ca.crt", "tls.crt", "tls.key"))
    keys = Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
    with Client(address, security=keys, timeout=5) as client:
        return client.scheduler_info()

def plainly(address):
    from distributed import Client
    with Client(address.replace("tls:", "tcp:"), timeout=5) as client:
        return client.scheduler_info()

def shaking_hands(address, folder):
    host, port = address.removeprefix("tls://").split(":")
    trusting = ssl._create_unverified_context()
    if folder:
        trusting.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    with socket.create_connection((host, int(port)), 5) as plain, trusting.wrap_socket(plain) as stream:
        stream.settimeout(5)
        return stream.recv(1)

def end_of(attempt, *args):
    try:
        return f"let in: {attempt(*args)}"
    except (OSError, ssl.SSLError) as error:
        return f"refused: {error}"

@flow
def stranger(address):
    own = os.environ["FLOWCLUSTER_KEYS"]
    return {
        "without TLS": end_of(plainly, address),
        "with another run's keys": end_of(with_keys, address, own),
        "with another run's certificate, trusting anybody": end_of(shaking_hands, address, own),
        "without a certificate, trusting anybody": end_of(shaking_hands, address, None),
    }
"""


@pytest.fixture
def host(world: World) -> str:
    """A run with a cluster, whose flow goes on until it is told to end."""
    flow = {"entrypoint": "flow.py:host", "source": world.code(CODE)}
    world.create(FlowRun("host", flow).body())
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
    flow = {
        "entrypoint": "flow.py:stranger",
        "parameters": {"address": address},
        "source": {"configMap": {"name": "code"}},
    }
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

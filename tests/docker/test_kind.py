"""The tool's cluster on Docker, as a newcomer starts it: a real kind, and a node image that kind built.

These tests are one scenario, in order. They prove that the provider's commands work on a node of kind, with its own
entrypoint, systemd, kubeadm and containerd. They do not prove the chart, the demo or the tests of `tests/e2e` on that
node, nor what the published node image adds: kind's network daemon with its network policies, and volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kind_machine, tiny_images
from tests.support.kind_machine import USERS, USERS_CONFIG, Machine
from tests.support.kind_node import server
from tools.cluster.images import layout

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("kind")]
REF = "docker.io/flowcluster/tiny:0123456789ab"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with kind_machine.running(tmp_path_factory.mktemp("kind")) as found:
        yield found


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, set[str]]:
    """What the engine has before the tool does anything."""
    return machine.store()


def test_up_starts_a_cluster_on_docker_beside_the_users_own(machine: Machine, before: dict[str, set[str]]) -> None:
    assert machine.status()["ready"] is False

    machine.python("tools.cluster", "up")

    status = machine.status()
    assert (status["provider"], status["ready"]) == ("kind", True)
    nodes = machine.kubectl("get", "nodes", "--output", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}")
    assert nodes == server.version()
    assert machine.kubeconfig.read_text() == USERS_CONFIG


def test_pods_of_the_node_are_ready(machine: Machine) -> None:
    """Among them are those of CoreDNS, which need the network of pods and of Services."""
    machine.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--all-namespaces", "--timeout=600s")


def test_up_again_changes_nothing(machine: Machine) -> None:
    was = machine.store()

    machine.python("tools.cluster", "up")

    assert machine.store() == was


def test_archive_is_loaded_into_the_node(machine: Machine, tmp_path: Path) -> None:
    tiny_images.make(tmp_path / "oci", [REF])
    with (tmp_path / "tiny.tar").open("wb") as archive:
        layout.write_archive(tmp_path / "oci", {REF: REF}, archive)

    machine.python("tools.cluster", "load-image", tmp_path / "tiny.tar")

    node = f"{machine.status()['name']}-control-plane"
    assert REF in machine.engine.docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet")


def test_down_leaves_what_it_names_and_the_users_own(machine: Machine, before: dict[str, set[str]]) -> None:
    machine.python("tools.cluster", "down")

    kept = {**before, "networks": before["networks"] | {"kind"}}
    assert machine.store() == kept
    assert machine.listed("ps", "--format", "{{.Names}}") == {f"{USERS}-control-plane"}  # it still runs
    assert machine.kubeconfig.read_text() == USERS_CONFIG
    assert machine.status()["ready"] is False

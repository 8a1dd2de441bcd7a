"""The tool's cluster on Docker, as a newcomer starts it: a real kind, and a node image that kind built.

These tests are one scenario, in order. They prove that the provider's commands, image builds by Docker, the chart, the
demo and a cut of the tests on Kubernetes work on a node of kind, with its own entrypoint, systemd, kubeadm and
containerd. They do not prove what the published node image adds: kind's network daemon with its network policies, and
volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docker_engine, kind_machine, tiny_images
from tests.support.kind_machine import USERS, USERS_CONFIG, Machine
from tests.support.kind_node import server
from tools.cluster.images import layout
from tools.cluster.images.spec import INSTALLED

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("kind")]
#: Tests of the start, of scaling, of the SDK outside of the cluster, and of the end of a cluster.
CUT = (
    "tests/e2e/test_runs.py::test_greetings_run_on_a_cluster_of_their_own",
    "tests/e2e/test_runs.py::test_running_run_can_be_suspended_and_resumed",
    "tests/e2e/test_scaling.py::test_workers_scale_with_the_work",
    "tests/e2e/test_clusters_from_python.py::test_block_of_a_cluster_creates_and_releases_it[Dask]",
)
REF = "docker.io/flowcluster/tiny:0123456789ab"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with kind_machine.running(tmp_path_factory.mktemp("kind")) as found:
        docker_engine.add_python_image(found.engine)
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


def test_demo_runs_twice(machine: Machine) -> None:
    """The first one builds the images by Docker, loads them, and installs the chart."""
    for _time in range(2):
        assert "# 3. A shared cluster by helm" in machine.python("tools.demo")


def test_tests_on_kubernetes_pass(machine: Machine) -> None:
    machine.python("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *CUT)


def test_down_leaves_what_it_names_and_the_users_own(machine: Machine, before: dict[str, set[str]]) -> None:
    machine.python("tools.cluster", "down")

    kept = {**before, "networks": before["networks"] | {"kind"}}
    built = {f"flowcluster/{name}" for name in INSTALLED}
    assert machine.store() == {**kept, "images": before["images"] | built}
    assert machine.listed("ps", "--format", "{{.Names}}") == {f"{USERS}-control-plane"}  # it still runs
    assert machine.kubeconfig.read_text() == USERS_CONFIG
    assert machine.status()["ready"] is False

    machine.python("tools.cluster", "down", "--purge")

    assert machine.store() == kept

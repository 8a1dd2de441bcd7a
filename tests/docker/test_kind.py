"""The tool's cluster on Docker, as a newcomer starts it: a real kind, and a node image that kind built.

These tests are one scenario, in order. They prove that the provider's commands, image builds by Docker, the chart, the
demo, a cut of the tests on Kubernetes and an installation from a registry with a login work on a node of kind, with its
own entrypoint, systemd, kubeadm and containerd. They do not prove what the published node image adds: kind's network
daemon with its network policies, and volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docker_engine, docker_registry, kind_machine, tiny_images
from tests.support.kind_machine import USERS, USERS_CONFIG, Machine
from tests.support.kind_node import server
from tools.cluster.images import layout
from tools.cluster.images.spec import INSTALLED
from tools.install import RELEASE, SYSTEM

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("kind")]
#: Tests of the start, of scaling, of the SDK outside of the cluster, and of the end of a cluster.
CUT = (
    "tests/e2e/test_runs.py::test_greetings_run_on_a_cluster_of_their_own",
    "tests/e2e/test_runs.py::test_running_run_can_be_suspended_and_resumed",
    "tests/e2e/test_scaling.py::test_workers_scale_with_the_work",
    "tests/e2e/test_clusters_from_python.py::test_block_of_a_cluster_creates_and_releases_it[Dask]",
)
#: The Secret of the login to a registry.
SECRET = "registry-login"
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


def test_cluster_whose_node_has_stopped_is_created_again(machine: Machine) -> None:
    """A machine that starts again, or a start that was interrupted, leaves such a cluster."""
    node = _node(machine)
    was = machine.docker("inspect", "--format", "{{.Id}}", node)
    machine.docker("stop", "--time", "1", node)
    assert machine.status()["ready"] is False

    machine.python("tools.cluster", "up")

    assert machine.status()["ready"] is True
    assert machine.docker("inspect", "--format", "{{.Id}}", node) != was


def test_archive_is_loaded_into_the_node(machine: Machine, tmp_path: Path) -> None:
    tiny_images.make(tmp_path / "oci", [REF])
    with (tmp_path / "tiny.tar").open("wb") as archive:
        layout.write_archive(tmp_path / "oci", {REF: REF}, archive)

    machine.python("tools.cluster", "load-image", tmp_path / "tiny.tar")

    assert REF in machine.docker("exec", _node(machine), "ctr", "--namespace", "k8s.io", "images", "list", "--quiet")


def test_demo_runs_twice(machine: Machine) -> None:
    """The first one builds the images by Docker, loads them, and installs the chart."""
    for _time in range(2):
        assert "# 3. A shared cluster by helm" in machine.python("tools.demo")


def test_tests_on_kubernetes_pass(machine: Machine) -> None:
    machine.python("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *CUT)


def test_installation_comes_from_a_registry_with_a_login(machine: Machine, tmp_path: Path) -> None:
    """The commands are those of the page on registries. An authority of the test has signed for the registry."""
    with docker_registry.running(tmp_path / "registry", has_login=True) as registry:
        host = f"{docker_engine.MACHINE}:{registry.port}"
        _let_node_trust(machine, registry.authority)
        login = ["--username", docker_registry.USER]
        machine.docker("login", *login, "--password-stdin", host, stdin=docker_registry.PASSWORD)
        secret = ["create", "secret", "docker-registry", SECRET, f"--docker-server={host}"]
        secret += [f"--docker-username={docker_registry.USER}", f"--docker-password={docker_registry.PASSWORD}"]
        for namespace in (SYSTEM, "default"):
            machine.kubectl("--namespace", namespace, *secret)

        names = machine.python(
            *("tools.images", "--registry", f"{host}/team", "--pull-secret", SECRET, "--directory", tmp_path)
        ).split()
        chart, _of_shared_clusters = machine.python("tools.chart", tmp_path).split()
        values = ["--namespace", SYSTEM, "--values", str(tmp_path / "images.yaml")]
        machine.helm("upgrade", "--install", RELEASE, chart, *values, "--wait", "--timeout", "180s")
        machine.kubectl("create", "--filename", "manifests/samples/greetings.yaml")
        machine.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "flowrun/greetings", "--timeout=180s")

        node = machine.docker("exec", _node(machine), "ctr", "--namespace", "k8s.io", "images", "list", "--quiet")
        # KubeRay is there already: `make chart` has no chart of it without the internet.
        assert {name for name in names if "/kuberay:" not in name} <= set(node.split())
        machine.docker("image", "rm", *names)


def _let_node_trust(machine: Machine, authority: Path) -> None:
    """Add an authority to those that the node's containerd trusts."""
    node = _node(machine)
    machine.docker("cp", authority, f"{node}:/usr/local/share/ca-certificates/tests.crt")
    machine.docker("exec", node, "sh", "-c", "update-ca-certificates && systemctl restart containerd")


def _node(machine: Machine) -> str:
    return f"{machine.status()['name']}-control-plane"


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

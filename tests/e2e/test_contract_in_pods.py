"""The contract suite of task runners, with the driver and its workers in pods."""

from __future__ import annotations

import base64
import re
import sys
from typing import Any

import pytest

from flowcluster.clusters import DaskKubernetesCluster, RayKubernetesCluster
from flowcluster_api import names
from flowcluster_operator.desired.credentials import DASK, with_credentials
from flowcluster_operator.desired.pods import CONTAINER_SECURITY
from tests.support.pod_suite import archive
from tests.support.waiting import wait_until
from tests.support.world import World
from tools.install import Installed

pytestmark = pytest.mark.timeout(1200)

CLUSTERS: dict[str, Any] = {"Dask": DaskKubernetesCluster, "Ray": RayKubernetesCluster}
#: Component of the scheduler or head, by the cluster's kind.
HEAD_COMPONENTS = {"Dask": "scheduler", "Ray": "head"}
#: Environment variables by which a driver uses its run's credentials; Ray's are in `flowcluster.clusters.ray.access`.
CREDENTIALS: dict[str, dict[str, str]] = {"Dask": DASK, "Ray": {}}
#: The files of the suite with the most important promises, for `make test`.
MOST_TELLING = ("submitting", "mapping_and_chains", "nested_submit", "task_runners")
#: Kind, files, and about as many tests as they have for a cluster: fewer mean that pytest left some out.
#: On Dask, `make test` runs the same tests on a cluster of processes.
SUITES = [
    pytest.param("Ray", MOST_TELLING, 30, id="Ray-cut"),
    pytest.param("Ray", (), 110, id="Ray-whole", marks=pytest.mark.long),
    pytest.param("Dask", (), 90, id="Dask-whole", marks=pytest.mark.long),
]
#: The largest size of a ConfigMap (bytes).
LIMIT = 1024 * 1024
#: Time after which the suite is stopped, and its log shown (s).
SUITE_SECONDS = 900

ARCHIVE, FOLDER = "/suite/suite.zip", "/home/suite"
#: The suite as a volume, and its path in the containers.
VOLUME: dict[str, Any] = {"name": "suite", "configMap": {"name": "suite"}}
#: Labels of the pod that runs the suite.
LABELS = {"app": "suite"}
MOUNT = {"name": "suite", "mountPath": "/suite", "readOnly": True}


def with_suite(container: str) -> dict[str, Any]:
    """Return a template with which tasks in that container can import the suite's modules."""
    env = [{"name": "PYTHONPATH", "value": ARCHIVE}]
    return {"spec": {"volumes": [VOLUME], "containers": [{"name": container, "env": env, "volumeMounts": [MOUNT]}]}}


def driver(image: str, kind: str, address: str, credentials: str, files: tuple[str, ...]) -> dict[str, Any]:
    """Return a pod that runs files of the suite on the cluster at `address`, with the credentials of that Secret."""
    own_address = {"fieldRef": {"fieldPath": "status.podIP"}}
    mount = {"name": "files", "mountPath": FOLDER}
    chosen = [f"tests/contract/test_{name}.py" for name in files]
    suite = {
        "name": "suite",
        "image": image,
        "securityContext": CONTAINER_SECURITY,
        "workingDir": FOLDER,
        "command": ["python", "-m", "tests.support.pod_suite", kind, address, *chosen],
        "env": [{"name": "PYTHONPATH", "value": FOLDER}, {"name": "TESTS_HOST", "valueFrom": own_address}],
        "volumeMounts": [mount, {"name": "shm", "mountPath": "/dev/shm"}],
    }
    unpack = {
        "name": "unpack",
        "image": image,
        "securityContext": CONTAINER_SECURITY,
        "command": ["python", "-m", "zipfile", "--extract", ARCHIVE, FOLDER],
        "volumeMounts": [MOUNT, mount],
    }
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": SUITE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "initContainers": [unpack],
        "containers": [suite],
        "volumes": [
            VOLUME,
            {"name": "files", "emptyDir": {}},
            # A node of Ray keeps objects there.
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    return {
        "metadata": {"name": "suite", "labels": LABELS},
        "spec": with_credentials(pod, credentials, CREDENTIALS[kind]),
    }


def let_in(world: World, run: str) -> None:
    """Allow connections between the pod with `LABELS` and the run's pods, in both directions."""
    found = world.run(run)
    assert found is not None
    of_run = {"podSelector": {"matchLabels": {names.LABEL_RUN_UID: found["metadata"]["uid"]}}}
    spec = {**of_run, "ingress": [{"from": [{"podSelector": {"matchLabels": LABELS}}]}]}
    world.networking.create_namespaced_network_policy(world.namespace, {"metadata": {"name": "suite"}, "spec": spec})


def outcome(world: World, pod: str) -> tuple[int, str]:
    """Follow a pod to its end, and return its exit code and its log."""
    ns = world.namespace
    wait_until(lambda: world.core.read_namespaced_pod(pod, ns).status.phase != "Pending", f"{pod} has started")
    log = world.core.read_namespaced_pod_log(pod, ns, follow=True, _preload_content=False).data.decode()

    def ended() -> Any:
        (container,) = world.core.read_namespaced_pod(pod, ns).status.container_statuses
        return container.state.terminated

    return int(wait_until(ended, f"{pod} has ended").exit_code), log


@pytest.mark.parametrize(("kind", "files", "at_least"), SUITES)
def test_contract_suite_passes_in_pods(
    world: World,
    installed: Installed,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    files: tuple[str, ...],
    at_least: int,
) -> None:
    """The contract suite passes in a pod, with its tasks in other pods of a cluster."""
    content = archive()
    assert len(content) < LIMIT
    data = {"suite.zip": base64.b64encode(content).decode()}
    world.core.create_namespaced_config_map(world.namespace, {"metadata": {"name": "suite"}, "binaryData": data})
    workers = {"threads": 4, "taskResources": {"bench": 2, "desk": 1}, "template": with_suite("worker")}
    image = installed.images["runtime"]
    with CLUSTERS[kind](
        image=image,
        n_workers=1,
        workers=workers,
        scheduler={"template": with_suite(HEAD_COMPONENTS[kind])},
        kubeconfig=str(installed.kubeconfig),
        namespace=world.namespace,
    ) as cluster:
        (secret,) = world.core.list_namespaced_secret(world.namespace).items
        address = world.status(cluster.name)["cluster"]["address"]
        let_in(world, cluster.name)
        pod = driver(image, kind, address, secret.metadata.name, files)
        world.core.create_namespaced_pod(world.namespace, pod)
        exit_code, log = outcome(world, "suite")
        world.core.delete_namespaced_pod("suite", world.namespace)

    closing = log.splitlines()[-1]
    with capsys.disabled():
        sys.stdout.write(f"\n{closing}\n")
    assert exit_code == 0, log[-20_000:]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", closing)}
    assert set(counts) <= {"passed", "deselected"}, closing
    assert counts["passed"] >= at_least

"""Runs in a network that enforces NetworkPolicies: only the connections that they need are open.

On the one-node cluster, these tests switch the enforcement on. Any other cluster must have a network plugin that
enforces policies.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from distributed import Client
from kubernetes import client

from flowcluster.clusters import DaskKubernetesCluster
from flowcluster_api import names
from tests.support.foreign_clusters import foreign_cluster
from tests.support.operator_process import OperatorProcess
from tests.support.reaching import UNUSED_PORT, Reach, Target, start_stranger, wait_for_stranger
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World, own_world
from tools.cluster import api
from tools.cluster.providers.choose import choose
from tools.install import Installed

pytestmark = [
    pytest.mark.alone,  # the enforcement is for the whole cluster
    pytest.mark.timeout(300),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]

#: Ports on which the pods of each part must listen: without a listener, a refused connection would prove nothing.
SCHEDULER, HEAD = {8786, 8787}, {6379, 8265, 10001}
LEADER_PORTS = {"Dask": SCHEDULER, "Ray": HEAD}
#: Path of each dashboard, and the status of its answer to a request without the run's token.
DASHBOARDS = {"Dask": (8787, "status", 200), "Ray": (8265, "nodes", 401)}

#: How many attempts ended ``open``, ``closed`` or with ``no answer``.
Outcomes = Counter[str]

both_kinds = pytest.mark.parametrize("kind", ["Dask", "Ray"])


@dataclasses.dataclass(frozen=True)
class Fenced:
    """Two runs that wait, one on Dask and one on Ray, and pods that do not belong to a run.

    Attributes:
        world: their namespace, in which there is also a pod `stranger`.
        elsewhere: another namespace with a pod `stranger`.
        reach: runs commands in the pods of `world`.
        installed: the cluster.
    """

    world: World
    elsewhere: World
    reach: Reach
    installed: Installed

    def pods(self, kind: str) -> dict[str, Any]:
        """Return the pods of one of the runs by component."""
        run = self.world.run(kind.lower())
        assert run is not None
        found = self.world.core.list_namespaced_pod(
            self.world.namespace, label_selector=f"{names.LABEL_RUN_UID}={run['metadata']['uid']}"
        )
        return {pod.metadata.labels[names.LABEL_COMPONENT]: pod for pod in found.items}

    def leader(self, kind: str) -> Any:
        """Return the scheduler's or head's pod of one of the runs."""
        return self.pods(kind)[names.HEAD_COMPONENTS[kind]]

    def service(self, kind: str) -> Target:
        """Return the name and the port of the Service of the scheduler or head of one of the runs."""
        address = self.world.status(kind.lower())["cluster"]["address"].rpartition("//")[2]
        host, _, port = address.partition(":")
        return host, int(port)

    def targets(self, kind: str) -> list[Target]:
        """Return each port on which a pod of the run accepts connections, and of each pod a port that is closed."""
        return [
            (pod.status.pod_ip, port)
            for pod in self.pods(kind).values()
            for port in sorted({UNUSED_PORT, *self.reach.ports(pod.metadata.name)})
        ]


@pytest.fixture(scope="module")
def enforced(installed: Installed) -> Iterator[None]:
    """Enforce NetworkPolicies during the tests."""
    provider = choose()
    api.enforce_policies(provider, True)
    yield
    api.enforce_policies(provider, False)


@pytest.fixture(scope="module")
def fenced(installed: Installed, enforced: None) -> Iterator[Fenced]:
    """The runs, started at the same time: a Ray cluster takes half a minute."""
    with ExitStack() as stack:
        world, elsewhere = (
            stack.enter_context(own_world(installed.kubeconfig, name)) for name in ("fenced", "elsewhere")
        )
        for kind in LEADER_PORTS:
            cluster = {"kind": kind, "workers": {"minimum": 1, "maximum": 1}}
            flow = world.flow("annotated.py:sends", parameters={"is_held": True})
            world.create(FlowRun(kind.lower(), flow, None, {"cluster": cluster}).body())
            stack.callback(world.delete, kind.lower())
        for place in (world, elsewhere):
            start_stranger(place, installed.images["runtime"])
            stack.callback(place.core.delete_namespaced_pod, "stranger", place.namespace)
        for place in (world, elsewhere):
            wait_for_stranger(place)
        for kind in LEADER_PORTS:
            world.wait_phase(kind.lower(), "Running", seconds=150)
        yield Fenced(world, elsewhere, Reach(installed, world.namespace), installed)


def use_cluster(world: World, name: str, cluster: dict[str, Any]) -> None:
    """Run a flow on a cluster, and check that it succeeds."""
    flow = world.flow("annotated.py:sends", parameters={"is_held": False})
    world.create(FlowRun(name, flow, None, {"cluster": cluster}).body())
    check_success(world, name)


def check_success(world: World, name: str) -> None:
    """Check that a run of `annotated.py:sends` succeeds."""
    status = world.wait_phase(name, "Succeeded", "Failed", seconds=120)
    assert (status["phase"], (status.get("flow") or {}).get("result")) == ("Succeeded", "1000000"), status["message"]


@both_kinds
def test_pods_of_a_run_reach_each_other(fenced: Fenced, kind: str) -> None:
    pods = fenced.pods(kind)
    targets = fenced.targets(kind)
    leader = {port for host, port in targets if host == fenced.leader(kind).status.pod_ip}
    assert leader >= LEADER_PORTS[kind]
    assert sorted(pods) == sorted(["driver", names.HEAD_COMPONENTS[kind], "worker"])

    for pod in pods.values():
        answers = fenced.reach.attempts(pod.metadata.name, targets)
        assert [target for target, answer in answers.items() if answer == "no answer"] == []
        assert {port for (host, port), answer in answers.items() if answer == "open"} >= LEADER_PORTS[kind]


@pytest.fixture(scope="module")
def strangers(fenced: Fenced) -> dict[tuple[str, str], Outcomes]:
    """The outcomes of connections to all ports of a run, by the pod that opens them and by the kind of the run.

    They are opened at the same time, as each attempt lasts for seconds.
    """
    elsewhere = Reach(fenced.installed, fenced.elsewhere.namespace)
    sources = {
        "the same namespace": (fenced.reach, "stranger"),
        "another namespace": (elsewhere, "stranger"),
        "a Dask run": (fenced.reach, fenced.pods("Dask")["worker"].metadata.name),
        "a Ray run": (fenced.reach, fenced.pods("Ray")["worker"].metadata.name),
    }
    targets = {kind: [*fenced.targets(kind), fenced.service(kind)] for kind in LEADER_PORTS}
    with ThreadPoolExecutor() as pool:
        found = {
            (where, kind): pool.submit(reach.outcomes, pod, targets[kind])
            for where, (reach, pod) in sources.items()
            for kind in LEADER_PORTS
            if where != f"a {kind} run"
        }
        return {key: future.result() for key, future in found.items()}


@both_kinds
@pytest.mark.parametrize("where", ["the same namespace", "another namespace"])
def test_pod_of_no_run_reaches_no_port_of_a_run(
    strangers: dict[tuple[str, str], Outcomes], kind: str, where: str
) -> None:
    """The ports are closed at the addresses of pods and at the name of a Service."""
    assert set(strangers[where, kind]) == {"no answer"}


@pytest.mark.parametrize(("where", "kind"), [("a Dask run", "Ray"), ("a Ray run", "Dask")])
def test_pod_of_another_run_reaches_no_port_of_a_run(
    strangers: dict[tuple[str, str], Outcomes], kind: str, where: str
) -> None:
    assert set(strangers[where, kind]) == {"no answer"}


def test_policy_of_a_user_allows_another_pod(fenced: Fenced) -> None:
    """The policy is that of the page on clusters from Python. Without it, only the run's policy blocks the pod."""
    world, targets = fenced.world, fenced.targets("Dask")
    own = [{"podSelector": {"matchLabels": {"app": "stranger"}}}]
    spec = {"podSelector": {"matchLabels": {names.LABEL_RUN: "dask"}}, "ingress": [{"from": own}]}
    world.networking.create_namespaced_network_policy(world.namespace, {"metadata": {"name": "notebook"}, "spec": spec})
    wait_until(
        lambda: "no answer" not in fenced.reach.outcomes("stranger", targets), "the stranger reaches all pods", 60
    )
    world.networking.delete_namespaced_network_policy("notebook", world.namespace)


@both_kinds
def test_dashboard_is_reached_through_the_api_server(fenced: Fenced, kind: str) -> None:
    """This holds on the node of the pod. On other nodes, network plugins differ, and a port-forward always works."""
    port, path, status = DASHBOARDS[kind]
    pod = f"{fenced.leader(kind).metadata.name}:{port}"
    try:
        fenced.world.core.connect_get_namespaced_pod_proxy_with_path(pod, fenced.world.namespace, path)
        answer = 200
    except client.ApiException as error:
        answer = error.status

    assert answer == status


@both_kinds
def test_dashboard_is_reached_by_a_port_forward(fenced: Fenced, kind: str) -> None:
    port, path, status = DASHBOARDS[kind]
    with fenced.reach.forwarded(fenced.leader(kind).metadata.name, port) as local:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/{path}", timeout=20) as response:
                answer = response.status
        except urllib.error.HTTPError as error:
            with error:
                answer = error.code

    assert answer == status


@pytest.mark.long
def test_program_outside_uses_a_cluster(world: World, where: dict[str, Any], enforced: None) -> None:
    """The program uses a port-forward to the relay."""
    with DaskKubernetesCluster(n_workers=1, **where) as cluster, Client(cluster) as dask:
        assert dask.submit(sum, [1, 2]).result(60) == 3


@pytest.mark.long
@pytest.mark.parametrize("kind", ["Dask", "Ray"])
def test_run_uses_the_cluster_of_another_run(fenced: Fenced, kind: str) -> None:
    """On Ray, the head and the workers connect to the driver, too."""
    name = fenced.world.status(kind.lower())["cluster"]["name"]
    use_cluster(fenced.world, f"guest-{kind.lower()}", {"kind": kind, "ref": {"name": name}})


@pytest.mark.long
@both_kinds
def test_run_uses_a_cluster_of_no_run(world: World, installed: Installed, enforced: None, kind: str) -> None:
    """On Ray, the pods of that cluster connect to the driver, and they do not have the labels of a run."""
    foreign = foreign_cluster(kind, installed.images["runtime"])
    world.create_cluster(foreign)
    use_cluster(world, "run", {"kind": kind, "ref": {"name": foreign["metadata"]["name"]}})
    world.delete_cluster(foreign)


@pytest.mark.long
def test_child_runs_are_used_by_the_driver_of_their_parent(world: World, enforced: None) -> None:
    """One on Ray, and then one on Dask."""
    world.create(FlowRun("parent", world.flow("subflows.py:both"), None).body())
    status = world.wait_phase("parent", "Succeeded", "Failed", seconds=180)

    assert status["phase"] == "Succeeded", status["message"]
    assert json.loads(status["flow"]["result"]) == [3, 7]
    assert len(world.runs()) == 3


@pytest.mark.long
def test_pods_of_a_run_are_open_when_policies_are_left_out(
    world: World, installed: Installed, enforced: None, tmp_path: pathlib.Path
) -> None:
    start_stranger(world, installed.images["runtime"])
    settings = {"FLOWCLUSTER_NETWORK_POLICIES": "false", "FLOWCLUSTER_OPERATOR_CLASS": "open"}
    with OperatorProcess(
        tmp_path, installed.kubeconfig, world.namespace, installed.images["runtime"], settings=settings
    ):
        world.create(FlowRun("open", workers=1, more={"operatorClass": "open"}).body())
        world.wait_phase("open", "Running")
        (scheduler,) = world.pods("scheduler")
        wait_for_stranger(world)
        targets = [(scheduler.status.pod_ip, port) for port in sorted(SCHEDULER)]
        answers = Reach(installed, world.namespace).outcomes("stranger", targets)
        world.core.delete_namespaced_pod("stranger", world.namespace)
        world.patch("open", {"cancel": True})
        world.wait_phase("open", "Cancelled")

    assert answers == {"open": len(targets)}


@both_kinds
def test_run_succeeds(fenced: Fenced, kind: str) -> None:
    """This is the last test of these runs: it lets them end."""
    name = kind.lower()
    wait_until(lambda: fenced.world.holder(name), "the driver renews the Lease of its run", 60)
    fenced.world.annotate(name, "end")
    check_success(fenced.world, name)

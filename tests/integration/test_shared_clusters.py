"""A shared cluster with the real upstream operators, checked at the API server. No container runs on the nodes.

The stories of Dask and Ray run at the same time, as each of them waits most of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from flowcluster_api import keeper as keepers
from flowcluster_api import lease, names
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from tests.support.chaos import played
from tests.support.chaos.scenarios import KINDS
from tests.support.chaos.trial import SUBJECT, Trial
from tests.support.rig.client import ApiError
from tests.support.rig.faults import UNDISTURBED
from tests.support.rig.kinds import FLOW_RUN, LEASE, POD, SHARED_CLUSTER
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig

pytestmark = [pytest.mark.rig, pytest.mark.timeout(300)]

Body = dict[str, Any]
GROUP: Body = {"name": "gpu", "minimum": 1, "maximum": 2, "taskResources": {"GPU": 1}}
SPEC: Body = {"workers": {"minimum": 1, "maximum": 3}, "workerGroups": [GROUP]}


class Shared(Trial):
    """A shared cluster and a run on it, and the actions of its users and its keeper."""

    def ensure(self) -> None:
        """Wait until the cluster is Ready, and create it if it does not exist."""
        if self.view.owner(SHARED_CLUSTER, SUBJECT) is None:
            self.create_owner(SHARED_CLUSTER, {"kind": self.kind, **SPEC})
        self.wait_shared("Ready")

    def use(self, retries: int = 0) -> None:
        """Create a run on it, and wait until it runs."""
        flow = {"entrypoint": "flows.py:flow", "backoffLimit": retries}
        self.create_owner(FLOW_RUN, {"flow": flow, "cluster": {"ref": {"name": SUBJECT}}})
        self.wait_phase("Running")

    @property
    def status(self) -> Body:
        """The status of the cluster."""
        return self.view.status(SUBJECT, SHARED_CLUSTER)

    def wait_ready(self, *numbers: int) -> None:
        """Wait until the status has that many Ready workers of each group."""
        self.wait(
            lambda: [group["ready"] for group in self.status.get("workers") or []] == list(numbers),
            f"{numbers} workers of the groups are Ready",
        )

    def report(self, demand: Demand, idle: int | None = None) -> None:
        """Renew the Lease as the keeper does."""
        now = played.now()
        self.patch_lease(lease.renewal("keeper-1", lease.DURATION, now, now, demand, Progress(None, idle)))

    def controllers(self) -> dict[str, set[str]]:
        """Return the kinds of the controllers of all children, by the children's kind and component."""
        found: dict[str, set[str]] = {}
        for child in self.children():
            owners = child.meta.get("ownerReferences") or []
            found.setdefault(child.label, set()).update(owner["kind"] for owner in owners if owner.get("controller"))
        return found


def children(shared: Shared) -> None:
    """The Lease is the controller of the children, and has the instructions for the keeper."""
    shared.wait_children({"RoleBinding keeper", "Pod keeper"})
    root = shared.lease()
    instructions = keepers.read(shared.client.get(LEASE.path(shared.namespace, root.name)) or {})
    controllers = shared.controllers()

    assert controllers[root.label] == {names.SHARED_KIND}
    assert controllers["Deployment keeper"] == controllers[f"{shared.kind}Cluster cluster"] == {"Lease"}
    assert all(controllers.values()), controllers
    assert controllers.get("DaskWorkerGroup cluster", {"DaskCluster"}) == {"DaskCluster"}
    assert instructions is not None
    assert [name for name, _bounds in instructions.groups] == ["", "gpu"]


def workers(shared: Shared) -> None:
    """Workers scale up with the work, and down after it."""
    shared.wait_ready(1, 1)
    if shared.kind == "Ray":
        shared.scale_ray(3)
        shared.wait_ready(3, 1)
        return
    shared.report(Demand(3, (), (("gpu", 2),)))
    shared.wait_workers(3 + 2)
    victim = next(name for name in shared.worker_names() if "-gpu-" in name)
    shared.report(Demand(3, (victim,), (("gpu", 1),)))
    shared.wait_ready(3, 1)

    assert victim not in shared.worker_names()


def lost_leader(shared: Shared) -> None:
    """The scheduler or head is lost while a run that can be retried is on the cluster."""
    shared.use(retries=1)
    first, restarts = shared.status["scheduler"], shared.status["restarts"]
    shared.client.delete(POD.path(shared.namespace, first["pod"]))

    def is_on_the_next_one() -> bool:
        run, leader = shared.view.status(SUBJECT), shared.status.get("scheduler") or {}
        used = run["cluster"].get("scheduler") or {}
        return bool(run["phase"] == "Running" and used.get("uid") == leader.get("uid") != first["uid"])

    shared.wait(is_on_the_next_one, "the run runs on the next scheduler or head")
    assert shared.status["restarts"] == restarts + 1
    assert shared.view.status(SUBJECT)["flow"]["lostClusters"] == 1


def idleness(shared: Shared) -> None:
    """The cluster is idle for as long as its spec allows, and a run is created later."""
    shared.patch_spec(SHARED_CLUSTER, idleShutdownSeconds=10)
    shared.report(Demand(0), idle=10)
    shared.wait_shared("Sleeping")
    shared.wait_empty()
    shared.use()
    shared.wait_shared("Ready")

    assert shared.view.phases(SUBJECT, SHARED_CLUSTER)[-3:] == ["Sleeping", "Starting", "Ready"]


def deletion(shared: Shared) -> None:
    """The user deletes the cluster in the foreground while a run is on it."""
    shared.use()
    shared.client.delete(SHARED_CLUSTER.path(shared.namespace, SUBJECT), "Foreground")
    shared.wait_gone(SHARED_CLUSTER)
    shared.wait_phase("Failed")
    shared.wait_empty()

    assert shared.view.status(SUBJECT)["reason"] == "ClusterLost"


_STORIES = (children, workers, lost_leader, idleness, deletion)
Stories = dict[tuple[str, str], Future[None]]


def play(story: Callable[[Shared], None], shared: Shared, operator: RigOperator) -> None:
    """Play a story on a cluster that is Ready, without a run."""
    shared.ensure()
    try:
        story(shared)
    finally:
        shared.delete(FLOW_RUN)
        shared.wait_gone(FLOW_RUN)
    assert "Traceback" not in operator.log()


@pytest.fixture(scope="module")
def stories(rig: Rig) -> Iterator[Stories]:
    """The futures of the stories by kind of cluster and name, each of which raises its errors.

    Those of one kind run one after the other on one cluster, as a start takes seconds. The kinds run at the same time.
    """
    with ExitStack() as stack:
        futures: Stories = {}
        for kind in KINDS:
            view = rig.create_namespace(f"shared-{kind}")
            operator = stack.enter_context(RigOperator(rig, view.namespace))
            thread = stack.enter_context(ThreadPoolExecutor(1))
            shared = Shared(rig, kind, UNDISTURBED, view)
            futures |= {(kind, story.__name__): thread.submit(play, story, shared, operator) for story in _STORIES}
        yield futures


each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_children_have_controllers_and_the_lease_instructs_the_keeper(kind: str, stories: Stories) -> None:
    stories[kind, "children"].result()


@each_kind
def test_workers_of_each_group_follow_the_work(kind: str, stories: Stories) -> None:
    stories[kind, "workers"].result()


@each_kind
def test_run_starts_again_when_the_scheduler_or_head_of_its_cluster_is_lost(kind: str, stories: Stories) -> None:
    stories[kind, "lost_leader"].result()


@each_kind
def test_idle_cluster_is_shut_down_and_wakes_when_a_run_names_it(kind: str, stories: Stories) -> None:
    stories[kind, "idleness"].result()


@each_kind
def test_deletion_in_the_foreground_leaves_nothing_and_ends_the_run(kind: str, stories: Stories) -> None:
    stories[kind, "deletion"].result()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "Spark"}, "spec.kind"),
        ({"workers": {"minimum": 3, "maximum": 1}}, "spec.workers"),
        ({"workerGroups": [{"name": "default"}]}, "default"),
        ({"workerGroups": [GROUP, GROUP]}, "spec.workerGroups"),
        ({"allowedNamespaces": ["Team_"]}, "spec.allowedNamespaces"),
    ],
)
def test_spec_that_contradicts_itself_is_refused(rig: Rig, spec: Body, words: str) -> None:
    body = {"apiVersion": names.API_VERSION, "kind": names.SHARED_KIND, "metadata": {"name": "refused"}}
    with pytest.raises(ApiError) as refused:
        rig.client.create(f"{SHARED_CLUSTER.path('default')}?dryRun=All", {**body, "spec": {"kind": "Dask", **spec}})

    assert refused.value.status == 422
    assert words in str(refused.value.body["message"])

"""Live runs with real controllers: edits, several installations, a lost node.

All stories run at the same time, as each of them waits most of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from flowcluster_api import lease, names
from flowcluster_api.driver import EXIT_COMPLETED, EXIT_FAILED, Outcome
from flowcluster_api.progress import Progress
from tests.support.chaos import played
from tests.support.rig.client import Body
from tests.support.rig.kinds import DASK_CLUSTER, FLOW_RUN, JOB, LEASE, NETWORK_POLICY, POD, SERVICE, Kind
from tests.support.rig.ledger import Entry
from tests.support.rig.operator import RigOperator
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="the flow completed", exit_code=EXIT_COMPLETED)
_BAD = Outcome(state="Failed", reason="FlowFailed", message="the flow failed", exit_code=EXIT_FAILED)
_FLOW: Body = {"entrypoint": "flows.py:flow"}
_DASK: Body = {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}}
_STEP_SECONDS = 120.0
_QUOTA = Kind("ResourceQuota", "v1", "resourcequotas")


class Scene:
    """A namespace with runs.

    Attributes:
        rig: the rig.
        view: its objects.
    """

    def __init__(self, rig: Rig, name: str) -> None:
        self.rig, self.view = rig, rig.create_namespace(name)

    @property
    def namespace(self) -> str:
        """The name of the namespace."""
        return self.view.namespace

    def create(self, name: str, metadata: Body | None = None, **spec: object) -> None:
        """Create a FlowRun."""
        metadata = {"name": name, **(metadata or {})}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
        self.rig.client.create(FLOW_RUN.path(self.namespace), body)

    def patch(self, name: str, **spec: object) -> None:
        """Edit a FlowRun."""
        self.rig.client.patch(FLOW_RUN.path(self.namespace, name), {"spec": spec})

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a step."""
        wait_until(condition, what, _STEP_SECONDS, every=0.05)

    def wait_phase(self, name: str, phase: str) -> Body:
        """Wait until a run is in a phase, and return its status."""
        self.wait(lambda: self.view.status(name).get("phase") == phase, f"{name} is {phase}")
        return self.view.status(name)

    def pod(self, component: str, *others: Entry) -> Entry:
        """Wait for a Ready pod of a component that is not among `others`, and return it."""
        known = {entry.uid for entry in others}

        def found() -> list[Entry]:
            return [pod for pod in self.view.pods(component) if played.is_ready(pod) and pod.uid not in known]

        self.wait(found, f"a {component} runs that is not among {sorted(known)}")
        return found()[0]

    def children(self, name: str) -> list[Entry]:
        """Return the objects of a run besides its record."""
        labelled = [(entry, entry.body["metadata"].get("labels") or {}) for entry in self.view.entries()]
        return [entry for entry, labels in labelled if labels.get(names.LABEL_RUN) == name]


def classes(rig: Rig) -> None:
    """Three runs, two operators: each handles the runs of its class, and the run of a third class waits."""
    scene = Scene(rig, "classes")
    settings = {"": {}, "blue": {"FLOWCLUSTER_OPERATOR_CLASS": "blue"}}
    with ExitStack() as stack:
        operators = {
            name: stack.enter_context(RigOperator(rig, scene.namespace, each, name=f"{scene.namespace}-{name}"))
            for name, each in settings.items()
        }
        scene.create("plain", flow=_FLOW)
        scene.create("of-blue", flow=_FLOW, operatorClass="blue")
        scene.create("of-green", flow=_FLOW, operatorClass="green")
        for name in ("plain", "of-blue"):
            scene.wait_phase(name, "Running")
        for pod in scene.view.pods("driver"):
            played.end_pod(rig.client, pod, _GOOD)
        for name in ("plain", "of-blue"):
            scene.wait_phase(name, "Succeeded")
        writes = {name: [write.path for write in operator.proxy.writes] for name, operator in operators.items()}

    assert scene.view.status("of-green") == {}
    assert scene.children("of-green") == []
    assert {name: any("of-blue" in path for path in paths) for name, paths in writes.items()} == {
        "": False, "blue": True,
    }  # fmt: skip
    assert {name: any("plain" in path for path in paths) for name, paths in writes.items()} == {
        "": True, "blue": False,
    }  # fmt: skip
    assert len(scene.view.entries(JOB, gone=True)) == 2, "each run has one Job"


def idle_timeout(rig: Rig) -> None:
    """A run without a timeout whose driver reports to be idle. An edit adds the timeout."""
    scene = Scene(rig, "idle")
    with RigOperator(rig, scene.namespace):
        scene.create("run", cluster=_DASK, leaseDurationSeconds=600)
        scene.wait(lambda: scene.view.entries(LEASE), "the run has its Lease")
        (held,) = scene.view.entries(LEASE)
        report = lease.renewal("elsewhere/1", 600, played.now(), played.now(), None, Progress(None, 100))
        rig.client.patch(LEASE.path(scene.namespace, held.name), report)
        scene.wait_phase("run", "Running")
        scene.patch("run", idleTimeoutSeconds=60)
        status = scene.wait_phase("run", "Cancelled")
        scene.wait(lambda: scene.children("run") == [], "nothing of the run is left")

    assert status["reason"] == "IdleTimeoutExceeded"
    assert "spec.idleTimeoutSeconds" in status["message"]


def backoff_limit(rig: Rig) -> None:
    """A run with one attempt. An edit while its flow runs adds another one."""
    scene = Scene(rig, "backoff")
    with RigOperator(rig, scene.namespace):
        scene.create("run", flow=_FLOW)
        scene.wait_phase("run", "Running")
        (job,) = scene.view.entries(JOB)
        scene.patch("run", flow={"backoffLimit": 1})
        path = JOB.path(scene.namespace, job.name)
        scene.wait(lambda: (rig.client.get(path) or {})["spec"]["backoffLimit"] == 1, "the Job has the edited limit")
        first = scene.pod("driver")
        played.end_pod(rig.client, first, _BAD)
        played.end_pod(rig.client, scene.pod("driver", first), _GOOD)
        status = scene.wait_phase("run", "Succeeded")

    assert status["flow"]["attempts"] == 2


def dead_node(rig: Rig) -> None:
    """The node of a scheduler is lost, and Kubernetes has deleted its pod: the run starts again on another cluster."""
    scene = Scene(rig, "dead-node")
    with RigOperator(rig, scene.namespace):
        scene.create("run", flow={**_FLOW, "backoffLimit": 1}, cluster=_DASK)
        scene.wait_phase("run", "Running")
        scheduler, driver = scene.pod("scheduler"), scene.pod("driver")
        path = POD.path(scene.namespace, scheduler.name)
        rig.client.patch(path, {"metadata": {"annotations": {"rig/node-is-gone": "true"}}})
        rig.client.request("DELETE", path, {"gracePeriodSeconds": 1})
        played.end_pod(rig.client, scene.pod("driver", driver), _GOOD)
        status = scene.wait_phase("run", "Succeeded")

    assert status["flow"]["lostClusters"] == 1
    assert len(scene.view.entries(DASK_CLUSTER, gone=True)) == 2
    (gone,) = (entry for entry in scene.view.entries(POD, gone=True) if entry.uid == scheduler.uid)
    assert gone.is_gone


def refused_attempt(rig: Rig) -> None:
    """A quota refuses the pod of the second attempt, until the administrator removes it."""
    scene = Scene(rig, "refused")
    with RigOperator(rig, scene.namespace):
        scene.create("run", flow={**_FLOW, "backoffLimit": 1})
        scene.wait_phase("run", "Running")
        first = scene.pod("driver")
        rig.client.create(
            _QUOTA.path(scene.namespace), {"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}}
        )
        quota = _QUOTA.path(scene.namespace, "no-pods")
        scene.wait(lambda: (rig.client.get(quota) or {}).get("status", {}).get("hard"), "the quota is enforced")
        played.end_pod(rig.client, first, _BAD)
        scene.wait(lambda: scene.view.status("run").get("reason") == "FailedCreate", "the status has the cause")
        shown = scene.view.status("run")
        rig.client.delete(quota)
        played.end_pod(rig.client, scene.pod("driver", first), _GOOD)
        scene.wait_phase("run", "Succeeded")

    assert shown["phase"] == "Running"
    assert "exceeded quota: no-pods" in shown["message"]


def sidecar(rig: Rig) -> None:
    """A driver fails while a container beside it still runs, and can be tried again."""
    scene = Scene(rig, "sidecar")
    container = {"name": "proxy", "image": "proxy:1"}
    flow = {**_FLOW, "backoffLimit": 1, "template": {"spec": {"containers": [container]}}}
    with RigOperator(rig, scene.namespace):
        scene.create("run", flow=flow)
        scene.wait_phase("run", "Running")
        first = scene.pod("driver")
        played.end_container(rig.client, first, "driver", _BAD)
        played.end_pod(rig.client, scene.pod("driver", first), _GOOD)
        status = scene.wait_phase("run", "Succeeded")

    assert status["flow"]["attempts"] == 2


def copied_labels(rig: Rig) -> None:
    """Objects with the labels of a run, in its namespace and in another one. One operator serves both namespaces."""
    scene, others = Scene(rig, "copied"), Scene(rig, "copied-others")
    with RigOperator(rig, "", {"FLOWCLUSTER_OPERATOR_CLASS": "copied"}, name="copied"):
        scene.create("run", flow=_FLOW, operatorClass="copied")
        scene.wait_phase("run", "Running")
        uid = (scene.view.run("run") or {})["metadata"]["uid"]
        labels = {**names.child_labels("run", uid, names.COMPONENT_CLUSTER), names.LABEL_OPERATOR_CLASS: "copied"}
        unknown = {**labels, names.LABEL_RUN_UID: "00000000-0000-4000-8000-000000000000"}
        copies = {
            "copied": (others, SERVICE, labels),
            "of-no-run": (others, SERVICE, unknown),
            "of-another-name": (scene, SERVICE, {**labels, names.LABEL_RUN: "typo"}),
            names.child_name("run", uid): (others, LEASE, labels),
        }
        for name, (place, kind, given) in copies.items():
            spec = {"ports": [{"port": 80}]} if kind is SERVICE else {}
            rig.client.create(kind.path(place.namespace), {"metadata": {"name": name, "labels": given}, "spec": spec})
        played.end_pod(rig.client, scene.pod("driver"), _GOOD)
        scene.wait_phase("run", "Succeeded")
        left = {
            name: rig.client.get(kind.path(place.namespace, name)) for name, (place, kind, _given) in copies.items()
        }

    assert scene.view.phases("run") == ["Starting", "Running", "Stopping", "Succeeded"]
    assert [name for name, found in left.items() if found is None] == []
    assert others.view.entries(FLOW_RUN) == []
    assert [entry.kind for entry in others.view.entries() if entry.name not in copies] == []


def inheritance(rig: Rig) -> None:
    """Runs on Dask and on Ray with a label and an annotation: upstream operators pass them on to what they make."""
    scene = Scene(rig, "inheritance")
    labels = {"team": "research", "app.kubernetes.io/created-by": "ann", "app.kubernetes.io/name": "prices"}
    metadata = {"labels": labels, "annotations": {"example.com/cost": "42"}}
    with RigOperator(rig, scene.namespace):
        for kind in ("Dask", "Ray"):
            scene.create(kind.lower(), metadata, flow=_FLOW, cluster={**_DASK, "kind": kind})
        for kind in ("dask", "ray"):
            scene.wait_phase(kind, "Running")
        scene.wait(lambda: len(scene.view.entries(NETWORK_POLICY)) == 2, "the runs have all their objects")
        made = [entry for entry in scene.view.entries() if entry.name.startswith(("dask-", "ray-"))]
        services = [rig.client.get(SERVICE.path(scene.namespace, entry.name)) for entry in scene.view.entries(SERVICE)]
        selectors = [service["spec"]["selector"] for service in services if service is not None]
        leaders = [pod.meta["labels"] for pod in scene.view.pods("scheduler", "head")]
    of_autoscaler = {"ServiceAccount", "Role", "RoleBinding"}  # KubeRay gives them its own labels only

    assert len(selectors) == len(leaders) == 2
    for selector in selectors:
        assert [selector.items() <= labels.items() for labels in leaders].count(True) == 1, "it selects its leader"
    assert {entry.kind for entry in made} >= {"Pod", "Job", "Service", "Deployment", "RayCluster", "Lease", "Secret"}
    assert [
        f"{entry} has no {field}"
        for entry in made
        for field, name in (("labels", "team"), ("annotations", "example.com/cost"))
        if (entry.meta.get(field) or {}).get(name) != metadata[field][name]
        and not (entry.kind in of_autoscaler and not entry.name.endswith("-driver"))
    ] == []


_STORIES = {
    story.__name__: story
    for story in (
        classes,
        idle_timeout,
        backoff_limit,
        dead_node,
        refused_attempt,
        copied_labels,
        inheritance,
    )
}


@pytest.fixture(scope="module")
def stories(rig: Rig) -> Iterator[dict[str, Future[None]]]:
    """The futures of the stories, each of which raises its errors."""
    with ThreadPoolExecutor(len(_STORIES)) as pool:
        yield {name: pool.submit(story, rig) for name, story in _STORIES.items()}


def test_operators_of_two_classes_share_no_run(stories: dict[str, Future[None]]) -> None:
    stories["classes"].result()


def test_idle_timeout_that_is_added_to_a_live_run_ends_it(stories: dict[str, Future[None]]) -> None:
    stories["idle_timeout"].result()


def test_backoff_limit_that_is_raised_gives_a_live_run_another_attempt(stories: dict[str, Future[None]]) -> None:
    stories["backoff_limit"].result()


def test_status_names_the_quota_that_refuses_the_next_attempt(stories: dict[str, Future[None]]) -> None:
    stories["refused_attempt"].result()


@pytest.mark.long  # it waits for 30 s; tests/unit/operator/test_lingering_containers.py has the decisions
def test_attempt_follows_a_failed_one_although_a_container_beside_the_driver_runs_on(rig: Rig) -> None:
    sidecar(rig)


def test_copied_labels_change_no_run_and_delete_nothing(stories: dict[str, Future[None]]) -> None:
    stories["copied_labels"].result()


def test_every_object_of_a_run_has_its_labels_and_annotations(stories: dict[str, Future[None]]) -> None:
    stories["inheritance"].result()


def test_run_starts_again_when_the_node_of_its_scheduler_is_lost(stories: dict[str, Future[None]]) -> None:
    stories["dead_node"].result()

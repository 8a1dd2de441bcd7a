"""The view and the actions of a scenario: objects of its namespace, and writes of users, drivers and autoscalers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from flowcluster_api import names
from flowcluster_api.driver import Outcome
from tests.support.chaos import played
from tests.support.rig.client import Body
from tests.support.rig.faults import Fault
from tests.support.rig.kinds import CLUSTERS, FLOW_RUN, LEASE, OWNERS, SERVICE, SHARED_CLUSTER, Kind
from tests.support.rig.ledger import Entry, View
from tests.support.rig.rig import Rig
from tests.support.waiting import wait_until

T = TypeVar("T")
#: Names of what is under test, a run, a shared cluster or both, and of the run beside it. The first occurs in no field
#: of an object.
SUBJECT, BYSTANDER = "disturbed", "bystander"
#: A Service of another party that carries the labels of the run under test: a copied manifest. It is not the run's.
STRANGER = "stranger"
_OWNER_KINDS = [kind.name for kind in OWNERS]
#: Seconds for one step of a scenario, without the time of the fault itself. dask-kubernetes tries a step that failed
#: again after 60 s.
STEP_SECONDS = 90.0
#: Seconds for which nothing of a run must be left. An upstream operator may still make a child, which garbage
#: collection deletes later, and the ledger's watches of the kinds are not in step.
REST_SECONDS = 1.0
#: Seconds for which a played flow runs.
WORK_SECONDS = 1.0


class StepFailed(Exception):
    """A step of the scenario did not happen in time. The message names it."""


class Trial:
    """The view and the actions of a scenario.

    Args:
        rig: the rig.
        kind: ``Dask`` or ``Ray``.
        fault: the injected fault.
        view: the trial's namespace.

    Attributes:
        kind: see above.
        view: see above.
        client: a connection to the API server as administrator.
        uids: of the FlowRuns and SharedClusters under test, those that are gone too: the namespace has those of
            earlier trials.
    """

    def __init__(self, rig: Rig, kind: str, fault: Fault, view: View) -> None:
        self.kind, self.fault, self.view = kind, fault, view
        self.client = rig.client
        self.uids: list[str] = []
        self.cluster_kind = CLUSTERS[kind]

    @property
    def namespace(self) -> str:
        """The trial's namespace."""
        return self.view.namespace

    def wait(self, condition: Callable[[], T], what: str, seconds: float = STEP_SECONDS) -> T:
        """Wait for a step. Raises StepFailed."""
        try:
            return wait_until(condition, what, seconds + self.fault.seconds, every=0.05)
        except AssertionError as error:
            raise StepFailed(str(error)) from None

    def create(self, name: str = SUBJECT, *, workers: Body, flow: bool = True, **spec: object) -> None:
        """Create a FlowRun. Its flow has a parameter, which the operator writes into a ConfigMap."""
        body: Body = {"cluster": {"kind": self.kind, "workers": workers}, **spec}
        if flow:
            body["flow"] = {"entrypoint": "flows.py:flow", "parameters": {"name": "x"}}
        self.create_owner(FLOW_RUN, body, name)

    def create_owner(self, kind: Kind, spec: Body, name: str = SUBJECT) -> None:
        """Create a FlowRun or a SharedCluster."""
        body = {"apiVersion": names.API_VERSION, "kind": kind.name, "metadata": {"name": name}, "spec": spec}
        made = self.client.create(kind.path(self.namespace), body)
        if name == SUBJECT:
            self.uids.append(made["metadata"]["uid"])
            self._copy_labels(kind, self.uids[-1])

    def _copy_labels(self, kind: Kind, uid: str) -> None:
        labels = names.child_labels(SUBJECT, uid, names.COMPONENT_CLUSTER, kind.name)
        service = {"metadata": {"name": f"{STRANGER}-{uid}", "labels": labels}}
        self.client.create(SERVICE.path(self.namespace), {**service, "spec": {"ports": [{"port": 80}]}})

    def strangers(self) -> list[Entry]:
        """Return the Services with copied labels of this trial, those that were deleted too."""
        mine = {f"{STRANGER}-{uid}" for uid in self.uids}
        return [entry for entry in self.view.entries(SERVICE, gone=True) if entry.name in mine]

    def clear(self) -> None:
        """Delete what is under test and the strangers, and wait until nothing is left of them. Raises StepFailed."""
        for kind in OWNERS:
            self.delete(kind)
        for stranger in self.strangers():
            self.client.delete(SERVICE.path(self.namespace, stranger.name))
        self.wait_gone(*OWNERS)
        self.wait_empty()

    def patch_spec(self, kind: Kind = FLOW_RUN, **spec: object) -> None:
        """Change the spec of the run or of the shared cluster, as a user does."""
        self.client.patch(kind.path(self.namespace, SUBJECT), {"spec": spec})

    def delete(self, kind: Kind = FLOW_RUN) -> None:
        """Delete the run or the shared cluster, as `kubectl delete` does."""
        self.client.delete(kind.path(self.namespace, SUBJECT))

    def wait_phase(self, *phases: str, name: str = SUBJECT) -> None:
        """Wait until a run is in one of some phases."""
        what = f"FlowRun {name} is {' or '.join(phases)}"
        self.wait(lambda: self._phase(name) in phases or self._fail_when_over(name, phases), what)

    def wait_shared(self, *phases: str) -> None:
        """Wait until the shared cluster is in one of some phases."""
        what = f"the SharedCluster is {' or '.join(phases)}"
        self.wait(lambda: self.view.status(SUBJECT, SHARED_CLUSTER).get("phase") in phases, what)

    def wait_gone(self, *kinds: Kind) -> None:
        """Wait until the record of the run is gone, or the objects of `kinds`."""
        for kind in kinds or (FLOW_RUN,):
            self.wait(partial(self._is_gone, kind), f"the {kind.name} is gone")

    def _is_gone(self, kind: Kind) -> bool:
        return self.view.owner(kind, SUBJECT) is None

    def wait_empty(self) -> None:
        """Wait until nothing but the records under test is left for `REST_SECONDS`."""
        empty_since: float | None = None

        def is_at_rest() -> bool:
            nonlocal empty_since
            if self.children():
                empty_since = None
                return False
            empty_since = empty_since or time.monotonic()
            return time.monotonic() - empty_since >= REST_SECONDS

        self.wait(is_at_rest, "nothing but the record is left")

    def wait_cluster(self) -> None:
        """Wait until the cluster resource exists."""
        self.wait(lambda: self.clusters(), f"the {self.cluster_kind.name} exists")

    def wait_workers(self, number: int) -> None:
        """Wait until the scheduler or head and exactly `number` workers are Ready, and their Deployments known."""
        self.wait(
            lambda: (
                self._ready("scheduler", "head") == 1
                and self._ready("worker") == number
                and (self.kind != "Dask" or len(self.worker_names()) == number)
            ),
            f"a head and {number} workers are Ready",
        )

    def wait_rights(self) -> None:
        """Wait until the run has what its driver needs besides its pod: rights to its Lease, and open connections.

        A driver that runs elsewhere gets no rights: its FlowRun names no user.
        """
        has_flow = "flow" in (self.view.run(SUBJECT) or {"spec": {}})["spec"]
        wanted = {"NetworkPolicy", *(("Role", "RoleBinding") if has_flow else ())}
        self.wait(
            lambda: wanted <= {entry.kind for entry in self.view.entries() if self._is_current(entry, FLOW_RUN)},
            f"the run has its {', '.join(sorted(wanted))}",
        )

    def wait_children(self, labels: set[str]) -> None:
        """Wait until there are objects of all these kinds and components."""
        self.wait(
            lambda: labels <= {entry.label for entry in self.view.entries() if self._is_current(entry)},
            f"there are {', '.join(sorted(labels))}",
        )

    def wait_driver(self) -> None:
        """Wait until the driver's pod runs with its rights, and its flow has run for `WORK_SECONDS`."""
        self.wait(lambda: self._running_driver(), "the driver's pod runs")
        self.wait_rights()
        until = time.monotonic() + WORK_SECONDS
        self.wait(lambda: time.monotonic() >= until, "the flow has run")

    def end_driver(self, outcome: Outcome) -> None:
        """End the driver's pod as the kubelet reports it."""
        driver = self.wait(self._running_driver, "the driver's pod runs")
        assert driver is not None
        played.end_pod(self.client, driver, outcome)

    def lease(self) -> Entry:
        """Return the Lease of the run or of the shared cluster, once it exists: the first one where both have one."""
        return self.wait(lambda: next(iter(self._own(LEASE)), None), "there is a Lease") or self.lease()

    def patch_lease(self, patch: Body) -> None:
        """Merge-patch the Lease, as a driver or keeper does."""
        path = LEASE.path(self.namespace, self.lease().name)
        self.client.patch(path, patch)

    def scale_ray(self, replicas: int) -> None:
        """Set the number of workers as Ray's autoscaler does, which is a part of the head: no head runs here.

        Further worker groups stay as they are.
        """
        workers = [
            pod
            for pod in self.view.pods("worker")
            if self._is_current(pod) and names.LABEL_WORKER_GROUP not in pod.body["metadata"]["labels"]
        ]
        played.autoscale(self.client, self.clusters()[0], workers, replicas)

    def worker_names(self) -> list[str]:
        """Return the names by which the driver of a Dask run knows its workers: those of their Deployments."""
        return [
            entry.name
            for entry in self.view.entries()
            if entry.label == "Deployment worker" and self._is_current(entry) and not entry.is_terminating
        ]

    def clusters(self) -> list[Entry]:
        """Return the run's cluster resources that are not being deleted."""
        return [entry for entry in self._own(self.cluster_kind) if not entry.is_terminating]

    def is_subject(self, entry: Entry) -> bool:
        """Whether an object belongs to what is under test in this trial, which is gone or not."""
        labels = entry.body["metadata"].get("labels") or {}
        stems = tuple(f"{names.child_name(SUBJECT, uid)}" for uid in self.uids)
        is_stranger = entry.name.startswith(f"{STRANGER}-")
        return not is_stranger and (labels.get(names.LABEL_RUN_UID) in self.uids or entry.name.startswith(stems))

    def children(self, name: str = SUBJECT) -> list[Entry]:
        """Return everything that exists of a run or of a shared cluster besides its record."""
        return [entry for entry in self.view.entries() if entry.kind not in _OWNER_KINDS and is_of(entry, name)]

    def left(self) -> list[Entry]:
        """Return the children that exist, without those of late controllers: garbage collection deletes these later.

        `clear` waits for their deletion.
        """
        late = {entry.uid for entry in self.view.late()}
        return [entry for entry in self.children() if entry.uid not in late]

    def _own(self, kind: Kind) -> list[Entry]:
        return [entry for entry in self.view.entries(kind) if self._is_current(entry)]

    def _is_current(self, entry: Entry, *kinds: Kind) -> bool:
        """Whether an object is of an owner that has the name now: an earlier one's may still be there."""
        owners = [owner for kind in kinds or OWNERS if (owner := self.view.owner(kind, SUBJECT)) is not None]
        labels = entry.body["metadata"].get("labels") or {}
        return labels.get(names.LABEL_RUN_UID) in [owner["metadata"]["uid"] for owner in owners]

    def _phase(self, name: str) -> str:
        return str(self.view.status(name).get("phase"))

    def _fail_when_over(self, name: str, phases: tuple[str, ...]) -> bool:
        """Raise StepFailed when the run has ended otherwise; False while it goes on."""
        status = self.view.status(name)
        finals = {"Succeeded", "Failed", "Cancelled"}
        if status.get("phase") in finals and finals.isdisjoint(phases):
            raise StepFailed(f"{name} ended as {status['phase']}, {status.get('reason')}: {status.get('message')}")
        return False

    def _ready(self, *components: str) -> int:
        return sum(played.is_ready(pod) and self._is_current(pod) for pod in self.view.pods(*components))

    def _running_driver(self) -> Entry | None:
        found = [pod for pod in self.view.pods("driver") if played.is_ready(pod) and self._is_current(pod)]
        return found[0] if found else None


def is_of(entry: Entry, name: str) -> bool:
    """Whether an object is a run or a shared cluster of that name, or belongs to one: by label or by name."""
    if entry.name.startswith(f"{STRANGER}-"):
        return False
    labels = entry.body["metadata"].get("labels") or {}
    if any(labels.get(label) == name for label in names.OWNER_LABELS.values()):
        return True
    return entry.name == name if entry.kind in _OWNER_KINDS else entry.name.startswith(f"{name}-")

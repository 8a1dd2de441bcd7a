"""The counts of a run are right after every sequence of losses, failures, drains, suspensions and resumptions."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, Delete, Plan
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.backoff_limit import DISRUPTED_CLUSTERS
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.resources import JOB
from flowcluster_operator.specs import parse
from tests.support.fake_api.defaults import stored_status
from tests.support.lost_clusters import FAILED, Body, body, disrupted
from tests.support.makers import (
    KEY,
    KEYS,
    NOW,
    SETTINGS,
    access,
    cluster,
    deployment,
    ended,
    job,
    lease,
    pod,
    run,
)


class Life:
    """A simulated run: it applies the operator's plans, and acts as the API server and the Job controller."""

    def __init__(self, limit: int) -> None:
        self.spec, self.limit = body(limit), limit
        self.status: Body | None = None
        self.cluster = self.job = self.lease = False
        self.pods: list[Body] = []
        self.drivers = self.clusters = 0

    @property
    def phase(self) -> str:
        return str((self.status or {}).get("phase"))

    def settle(self) -> None:
        """Make passes until none follows immediately."""
        for _ in range(40):
            plan = self._pass()
            if not plan.actions and plan.status is None:
                return
        raise AssertionError(f"passes do not end: {self.status}")

    def observed(self) -> Observed:
        flow_run = run(self.spec, self.status)
        parsed, _ = parse(flow_run)
        is_empty = not (self.cluster or self.job or self.lease)
        made = job(self.spec)
        if self.job:
            made["spec"]["backoffLimit"] = self.limit
        return Observed(
            key=KEY, run=flow_run, spec=parsed, cluster=cluster() if self.cluster else None,
            job=self._judged(made) if self.job else None,
            lease=lease() if self.lease else None, access=access() if self.lease else (),
            credentials=KEYS if self.lease else None,
            deployments=(deployment(), *(deployment("worker", number=n) for n in (1, 2))) if self.cluster else (),
            pods=tuple(pod_facts(item) for item in self.pods), verified_gone=is_empty,
        )  # fmt: skip

    def _judged(self, made: Body) -> Body:
        is_failed = self._counted() > self.limit
        return {**made, "status": {"conditions": [{"type": "Failed", "status": "True"}] if is_failed else []}}

    def _counted(self) -> int:
        facts = [pod_facts(item) for item in self._of("driver")]
        return sum(item.ended is not None and item.disrupted is None for item in facts)

    def _of(self, component: str) -> list[Body]:
        return [item for item in self.pods if item["metadata"]["name"].startswith(component)]

    def _pass(self) -> Plan:
        plan = decide(self.observed(), SETTINGS, NOW)
        if plan.status is not None:
            self.status = stored_status(plan.status)
        for action in plan.actions:
            if isinstance(action, Create):
                self._create(action)
            elif isinstance(action, Delete):
                self.cluster = self.job = self.lease = False
                self.pods = []
        return plan

    def _create(self, action: Create) -> None:
        if action.resource.kind == desired_lease(KEY)["kind"]:
            self.lease = True
        if action.resource.kind == "DaskCluster":
            self.cluster, self.clusters = True, self.clusters + 1
            self.pods += [pod("scheduler", uid=f"s{self.clusters}"), *(pod("worker", uid=f"w{n}") for n in (1, 2))]
        if action.resource is JOB:
            self.job, self.limit = True, action.body["spec"]["backoffLimit"]
            self.start_driver()

    def start_driver(self) -> None:
        self.drivers += 1
        self.pods.append(pod("driver", uid=f"d{self.drivers}", age=1000 - self.drivers))

    def end_driver(self, state: Body, *, drained: bool = False) -> None:
        """End the driver that runs; the Job starts another one if it has attempts left."""
        if not (drivers := self._of("driver")):
            return
        last = drivers[-1]
        last["status"]["containerStatuses"][0]["state"] = state
        if drained:
            disrupted(last)
        self.settle()
        if self.job and self._counted() <= self.limit:
            self.start_driver()

    def expected(self, event: str, flow: Body) -> int | None:
        """Return the attempts that count after this event; None where it loses no cluster."""
        if event not in ("lose", "drain", "delete"):
            return None
        earlier = [pod_facts(item) for item in self._of("driver")[:-1]]
        failed = sum(item.ended is not None and item.disrupted is None for item in earlier)
        is_free = event == "drain" and flow.get("lostClusters", 0) < DISRUPTED_CLUSTERS
        return int(flow.get("failedAttempts", 0)) + failed + (0 if is_free else 1)

    def lose(self, *, drained: bool = False) -> None:
        """Restart the scheduler, or drain its node."""
        for item in self._of("scheduler"):
            item["status"]["containerStatuses"][0]["restartCount"] = 1
            if drained:
                disrupted(item)


EVENTS = st.lists(
    st.sampled_from(["lose", "lose", "drain", "fail", "evict driver", "delete", "suspend", "resume", "pass"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 3), EVENTS)
def test_counts_are_right_in_every_sequence_and_the_run_ends(limit: int, events: list[str]) -> None:
    life = Life(limit)
    life.settle()
    for event in [*events, "resume", *["lose"] * (limit + 1)]:
        if life.phase in {"Stopping", *c.FINAL_PHASES}:
            break
        before = dict((life.status or {}).get("flow") or {})
        expected = life.expected(event, before) if life.cluster else None
        match event:
            case "lose":
                life.lose()
            case "drain":
                life.lose(drained=True)
            case "fail":
                life.end_driver(FAILED)
            case "evict driver":
                life.end_driver(ended(143), drained=True)
            case "delete":
                life.cluster = False
                life.pods = [item for item in life.pods if item["metadata"]["name"].startswith("driver")]
            case "suspend" | "resume":
                life.spec = {**life.spec, "suspend": event == "suspend"}
        life.settle()
        flow = (life.status or {}).get("flow") or {}
        assert flow.get("attempts", 0) >= before.get("attempts", 0)
        assert flow.get("failedAttempts", 0) <= limit
        assert flow.get("lostClusters", 0) <= limit + DISRUPTED_CLUSTERS
        if life.job:
            assert life.limit == limit - flow.get("failedAttempts", 0)
        if expected is not None and expected <= limit:
            assert (flow["failedAttempts"], flow["lostClusters"]) == (expected, before.get("lostClusters", 0) + 1)
        elif expected is not None:
            assert (life.phase, (life.status or {}).get("reason")) == ("Failed", c.CLUSTER_LOST)

    status = life.status or {}
    flow = status.get("flow") or {}
    assert life.phase in c.FINAL_PHASES
    assert flow["attempts"] == life.drivers
    assert life.clusters <= 1 + flow.get("lostClusters", 0) + events.count("resume") + 1
    assert (life.cluster, life.job, life.lease) == (False, False, False)

"""What the operator deletes when a run ends, is suspended or is gone. The tests call `decide` with values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from flowcluster_operator.desired.metadata import controlled_by, owner_reference
from flowcluster_operator.model.plan import Delete, DropFinalizers
from flowcluster_operator.policies.teardown import DASK_KUBERNETES_FINALIZER
from flowcluster_operator.resources import FLOW_RUN
from tests.support.makers import (
    KEY,
    access,
    ago,
    cluster,
    deployment,
    ended,
    job,
    lease,
    observed,
    outcome,
    pod,
    remains,
    run,
    spec,
    stored,
)  # fmt: skip
from tests.support.plans import (
    ACCESS_KINDS,
    CHILDREN,
    FINISHED,
    condition,
    plan_for,
    settled,
    started,
)  # fmt: skip


class TestTeardown:
    #: Metadata of a cluster that exists only because of the finalizer of its upstream operator.
    BEHIND_A_FINALIZER: ClassVar[dict[str, Any]] = {
        "deletionTimestamp": ago(1),
        "finalizers": ["kopf.zalando.org/KopfFinalizerMarker"],
    }

    def test_only_the_lease_of_a_finished_run_is_deleted(self) -> None:
        """The Lease controls cluster, Job and rights."""
        (action,) = plan_for(observed(status=FINISHED, **CHILDREN)).actions

        assert isinstance(action, Delete)
        assert (action.resource.kind, action.background) == ("Lease", False)

    def test_children_that_the_flow_run_controls_are_deleted(self) -> None:
        """Another client created them."""
        of_run = {
            name: controlled_by(made, owner_reference(KEY))
            for name, made in CHILDREN.items()
            if name in ("cluster", "job")
        }
        rights = tuple(controlled_by(made, owner_reference(KEY)) for made in access())
        actions = plan_for(observed(status=FINISHED, lease=lease(), access=rights, **of_run)).actions

        assert all(isinstance(action, Delete) for action in actions)
        assert [action.resource.kind for action in actions] == ["DaskCluster", "Job", "Lease", *ACCESS_KINDS]

    def test_children_without_their_lease_are_deleted(self) -> None:
        left = (cluster(), job(), *access())
        actions = plan_for(observed(status=FINISHED, orphans=left)).actions

        assert [action.resource.kind for action in actions] == ["DaskCluster", "Job", *ACCESS_KINDS]
        assert all(isinstance(action, Delete) for action in actions)

    def test_lease_is_deleted_again_when_it_was_deleted_in_the_background(self) -> None:
        """The garbage collector keeps the children of an owner that another party's finalizer keeps."""
        going = lease()
        going["metadata"] |= {"deletionTimestamp": ago(1), "finalizers": ["x/y"]}
        (action,) = plan_for(observed(status=FINISHED, lease=going, cluster=cluster())).actions

        assert isinstance(action, Delete)
        assert (action.resource.kind, action.background) == ("Lease", False)

    def test_background_deletion_is_repeated_in_the_foreground(self) -> None:
        """Pods would run on while another operator's finalizer keeps their owner: a foreground delete ends them."""
        seen = observed(status=FINISHED, cluster=cluster(**self.BEHIND_A_FINALIZER), pods=(pod("worker"),))

        assert [type(action) for action in plan_for(seen).actions] == [Delete]

    @pytest.mark.parametrize("pods", [(), (pod("worker", deleted=True),)])
    def test_deletion_is_not_repeated_when_no_pod_runs(self, pods: tuple[dict[str, Any], ...]) -> None:
        """The garbage collector has finished. Another delete would start it again, at each event."""
        plan = plan_for(observed(status=FINISHED, cluster=cluster(**self.BEHIND_A_FINALIZER), pods=pods))

        assert plan.actions == ()
        assert plan.requeue == pytest.approx(29, abs=1)

    def test_foreground_deletion_is_not_repeated_until_it_counts_as_stuck(self) -> None:
        plan = plan_for(
            observed(status=FINISHED, cluster=cluster(deletionTimestamp=ago(1), finalizers=["foregroundDeletion"]))
        )

        assert plan.actions == ()
        assert plan.requeue == pytest.approx(29, abs=1)

    def test_finalizer_of_dask_kubernetes_is_removed_when_the_deletion_is_stuck(self) -> None:
        """dask-kubernetes has not removed it within 30 s, so it does not run."""
        going = cluster(deletionTimestamp=ago(31), finalizers=["foregroundDeletion", "x/y", DASK_KUBERNETES_FINALIZER])

        (action,) = plan_for(observed(status=FINISHED, cluster=going)).actions
        assert isinstance(action, DropFinalizers)
        assert action.left == ("foregroundDeletion", "x/y")

    @pytest.mark.parametrize("make", [cluster, job, lambda **meta: {**lease(), "metadata": lease()["metadata"] | meta}])
    def test_finalizer_of_another_party_stays_and_is_in_status(self, make: Callable[..., dict[str, Any]]) -> None:
        going = make(deletionTimestamp=ago(100), finalizers=["foregroundDeletion", "x/y"])
        part = {"DaskCluster": "cluster", "Job": "job", "Lease": "lease"}[going["kind"]]
        plan = plan_for(observed(status=FINISHED, **{part: going}))

        assert plan.actions == ()
        assert plan.status is not None
        assert "finalizer x/y" in condition(plan.status, "ClusterDeleted")["message"]

    def test_late_children_of_upstream_operators_are_deleted(self) -> None:
        """Upstream operators create objects for a cluster that is being deleted, also when the FlowRun is gone."""
        late = stored({"kind": "DaskWorkerGroup", "metadata": {"name": "late", "namespace": KEY.namespace}})
        seen = observed(status=FINISHED, upstream_children=(late,), orphans=(late,))

        for found in (seen, remains(seen)):
            (action,) = plan_for(found).actions
            assert isinstance(action, Delete)
            assert (action.resource.kind, action.name) == ("DaskWorkerGroup", "late")

    def test_children_with_an_owner_are_left_to_garbage_collection(self) -> None:
        """A controller that still exists would replace them."""
        seen = observed(status=FINISHED, deployments=(deployment("worker", number=1),), pods=[pod("worker")])

        assert plan_for(seen).actions == ()

    def test_final_phase_follows_a_listing_that_finds_nothing(self) -> None:
        """An empty store does not prove that nothing is left: until the listing, the run stays in Stopping."""
        pending = settled(observed(status=FINISHED))
        assert pending["phase"] == "Stopping"
        assert condition(pending, "ClusterDeleted")["status"] == "False"
        assert settled(observed(status=FINISHED, verified_gone=True))["phase"] == "Succeeded"

    def test_finished_run_is_deleted_after_its_ttl_and_not_before(self) -> None:
        gone = {"type": "ClusterDeleted", "status": "True", "reason": "NothingLeft"}
        status = {**FINISHED, "phase": "Succeeded", "conditions": [*FINISHED["conditions"], gone]}
        early = plan_for(observed(spec(ttlSecondsAfterFinished=10), status=status))
        late = plan_for(observed(spec(ttlSecondsAfterFinished=2), status=status))

        assert early.actions == ()
        assert early.requeue == pytest.approx(7)
        assert late.actions == (Delete(FLOW_RUN, "greetings", KEY.uid),)

    def test_children_of_a_run_that_is_gone_are_deleted(self) -> None:
        left = (cluster(), job(), *access())
        with_lease = plan_for(remains(observed(**CHILDREN))).actions
        without_lease = plan_for(remains(observed(orphans=left))).actions

        assert [type(action) for action in with_lease] == [Delete]
        assert [type(action) for action in without_lease] == [Delete] * len(left)

    def test_nothing_is_created_for_a_run_that_is_being_deleted(self) -> None:
        seen = remains(observed(), run(deletionTimestamp=ago(1)))

        assert plan_for(seen).actions == ()

    def test_suspension_removes_the_children_from_status_before_it_deletes_them(self) -> None:
        """Otherwise the operator would report its own deletions as losses."""
        seen = observed(spec(suspend=True), status=started(cluster={"kind": "Dask", "name": "c"}), **CHILDREN)
        first = plan_for(seen)
        second = plan_for(dataclasses.replace(seen, run=run(spec(suspend=True), first.status)))

        assert first.actions == ()
        assert first.status is not None
        assert "name" not in first.status["cluster"]
        assert [action.resource.kind for action in second.actions if isinstance(action, Delete)] == ["Lease"]

    @pytest.mark.parametrize("suspend", [True, False])
    def test_driver_that_suspension_stopped_does_not_end_the_run(self, suspend: bool) -> None:
        """Nothing starts until its pod is gone, also when the run is resumed meanwhile."""
        stopped = pod("driver", ended(3, outcome("Cancelled", "FlowCancelled", "stopped by SIGTERM", 3)), deleted=True)
        seen = observed(spec(suspend=suspend), status={"phase": "Suspended"}, pods=[stopped])
        plan = plan_for(seen)

        assert plan.actions == ()
        assert (plan.status or {"phase": "Suspended"})["phase"] == "Suspended"

    def test_resumed_run_has_the_phase_starting_before_its_children_are_created(self) -> None:
        """From then on, each child of the run is a new one."""
        first = plan_for(observed(spec(), status={"phase": "Suspended"}, verified_gone=True))
        assert first.status is not None
        second = plan_for(observed(spec(), status=first.status))

        assert (first.actions, first.status["phase"]) == ((), "Starting")
        assert second.actions

    def test_suspended_run_keeps_its_counts_of_usage(self) -> None:
        """Its cluster and its Job are gone, and what they have used stays in status."""
        used = {"kind": "Dask", "name": "c", "workerSeconds": 10, "peakWorkers": 2, "address": "tls://c"}
        workers = {"workers": {"ready": 2, "target": 2}, "workersTime": ago(5)}
        status = started(cluster=used | workers, flow={"job": "j", "attempts": 2})
        left = settled(observed(spec(suspend=True), status=status, **CHILDREN))

        assert left["cluster"] == {"kind": "Dask", "workerSeconds": 20, "peakWorkers": 2}
        assert left["flow"] == {"attempts": 2, "endedAttempts": 2}

    def test_resumed_run_does_not_report_its_former_cluster_as_lost(self) -> None:
        status = started(cluster={"kind": "Dask", "workerSeconds": 20, "peakWorkers": 2}, flow={"attempts": 2})

        assert plan_for(observed(status=status)).actions != ()

    def test_suspended_run_can_be_cancelled_without_a_start(self) -> None:
        plan = plan_for(observed(spec(suspend=True, cancel=True), status={"phase": "Suspended"}))

        assert plan.status is not None
        assert plan.status["reason"] == "Cancelled"

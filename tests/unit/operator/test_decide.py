"""What holds a run up, ends it and removes it, one sentence each. No API server: values in, a plan out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from flowcluster_api.driver import REASON_LIMIT
from flowcluster_operator.desired.metadata import controlled_by, owner_reference
from flowcluster_operator.errors import IllegalTransition
from flowcluster_operator.model.failures import Rejection, WarningEvent
from flowcluster_operator.model.plan import Delete, DropFinalizers
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.policies.teardown import DASK_KUBERNETES_FINALIZER
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS, RETRY_SECONDS
from flowcluster_operator.resources import FLOW_RUN
from flowcluster_operator.status.draft import Draft
from tests.support.makers import (
    KEY,
    NOW,
    SETTINGS,
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
    READY_PODS,
    condition,
    plan_for,
    settled,
    started,
)  # fmt: skip


class TestCauses:
    @pytest.mark.parametrize(
        ("world", "reason", "words"),
        [
            (
                {"pods": [pod("driver", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})]},
                "ImagePullBackOff",
                ["driver", "no such image", "spec.flow.image"],
            ),
            (
                {
                    "pods": [
                        pod(
                            "worker", {}, scheduled={"status": "False", "reason": "Unschedulable", "message": "0/1 cpu"}
                        )
                    ]
                },
                "Unschedulable",
                ["worker", "0/1 cpu", "spec.cluster.workers.resources"],
            ),
            (
                {"rejections": (Rejection("DaskCluster", "x", 404, "not found"),), "cluster": None},
                "ClusterKindMissing",
                ["DaskCluster", "install"],
            ),
            (
                {"rejections": (Rejection("Job", "x", 403, "exceeded quota"),), "job": None},
                "Rejected",
                ["Job x", "exceeded quota"],
            ),
            (
                {"warnings": (WarningEvent("Job", "x", "FailedCreate", "forbidden by policy"),)},
                "FailedCreate",
                ["driver", "forbidden by policy"],
            ),
            ({"deployments": (), "cluster": cluster(age=6)}, "ClusterOperatorSilent", ["DaskCluster", "running?"]),
        ],
    )
    def test_the_cause_stands_in_status(self, world: dict[str, Any], reason: str, words: list[str]) -> None:
        """What holds a run up is told with its reason, and with what to look at."""
        status = settled(observed(status=started(), **{**CHILDREN, **world}))

        assert status["reason"] == reason
        for word in words:
            assert word in status["message"]

    def test_the_start_deadline_ends_the_run_with_the_cause(self) -> None:
        """After the start deadline the run has failed, and its reason is what held it up."""
        blocked = pod("driver", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}})
        status = settled(observed(status=started(age=601), pods=[blocked], **CHILDREN))

        assert status["phase"] == "Stopping"
        assert condition(status, "Finished")["reason"] == "ErrImagePull"
        assert "600 s" in status["message"]

    def test_a_pass_is_due_when_the_start_deadline_is(self) -> None:
        """A deadline needs no event to be noticed."""
        plan = plan_for(observed(status=started(age=599.5), **CHILDREN))

        assert plan.requeue is not None
        assert plan.requeue <= 1


class TestEnd:
    @pytest.mark.parametrize(
        ("state", "reason", "words"),
        [
            (ended(0, outcome()), "Succeeded", "done"),
            (ended(1, outcome("Failed", "FlowFailed", "ValueError: no", 1)), "FlowFailed", "ValueError: no"),
            (ended(3, outcome("Cancelled", "Cancelled", "by SIGTERM", 3)), "DriverLost", "from outside"),
            (ended(3, outcome("Crashed", "FlowExited", "sys.exit(3)", 3)), "FlowExited", "sys.exit(3)"),
            (ended(222, outcome("Failed", "InvalidParameters", "names", 222)), "InvalidParameters", "names"),
            (ended(1, "Traceback\nImportError: no module"), "DriverCrashed", "ImportError: no module"),
            (ended(137, "", "OOMKilled"), "OutOfMemory", "spec.flow.template"),
            (ended(128, "exec: not found", "StartError"), "StartError", "exec: not found"),
            (ended(0, "hello"), "DriverCrashed", "no outcome"),
        ],
    )
    def test_the_drivers_end_is_the_runs(self, state: dict[str, Any], reason: str, words: str) -> None:
        """How the driver's container ended decides reason and message."""
        seen = observed(status=started(), pods=[*READY_PODS, pod("driver", state, phase="Failed")], **CHILDREN)
        status = settled(seen)

        assert condition(status, "Finished")["reason"] == reason
        assert words in status["message"]
        assert status["phase"] == "Stopping"

    @pytest.mark.parametrize(
        ("code", "deleted", "reason"),
        [
            (137, True, "DriverLost"),
            (143, True, "DriverLost"),
            (137, False, "DriverCrashed"),
            (1, True, "DriverCrashed"),
        ],
    )
    def test_driver_counts_as_lost_when_its_pod_is_deleted(self, code: int, deleted: bool, reason: str) -> None:
        """The kubelet ends a deleted pod by a signal; its last status can arrive before it is gone."""
        end = pod("driver", ended(code), phase="Failed", deleted=deleted)

        assert settled(observed(status=started(), pods=[*READY_PODS, end], **CHILDREN))["reason"] == reason

    @pytest.mark.parametrize("name", ["result", "resultUrl", "resultOmitted"])
    def test_where_the_result_is_stands_in_the_record(self, name: str) -> None:
        """The value, or where it was stored, or why nobody has it, as the driver tells; nothing about the others."""
        said = json.dumps(json.loads(outcome()) | {name: "[1]"})
        done = pod("driver", ended(0, said), phase="Succeeded")
        flow = settled(observed(status=started(), pods=[done], **CHILDREN))["flow"]

        assert {key: text for key, text in flow.items() if key.startswith("result")} == {name: "[1]"}

    def test_a_failed_attempt_is_not_the_end_while_others_may_follow(self) -> None:
        """With a backoffLimit the first failure is followed by another attempt."""
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "backoffLimit": 1}}
        failed = pod("driver", ended(1, outcome("Failed", "FlowFailed", "x", 1)), phase="Failed")

        assert settled(observed(body, status=started(), pods=[failed], **CHILDREN))["phase"] == "Starting"

    def test_a_flow_that_cannot_be_started_is_not_tried_again(self) -> None:
        """Wrong parameters stay wrong: no second attempt."""
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "backoffLimit": 5}}
        failed = pod("driver", ended(222, outcome("Failed", "InvalidParameters", "x", 222)), phase="Failed")

        assert settled(observed(body, status=started(), pods=[failed], **CHILDREN))["reason"] == "InvalidParameters"

    def test_cancel_ends_a_running_run(self) -> None:
        """spec.cancel stops the run and keeps its record."""
        seen = observed(spec(cancel=True), status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN)

        assert condition(settled(seen), "Finished")["reason"] == "Cancelled"

    def test_success_wins_over_cancel(self) -> None:
        """A flow that was done before the cancel arrived has succeeded."""
        done = pod("driver", ended(0, outcome()), phase="Succeeded")
        seen = observed(spec(cancel=True), status=started(), pods=[done], **CHILDREN)

        assert condition(settled(seen), "Finished")["reason"] == "Succeeded"

    @pytest.mark.parametrize(
        "scheduler",
        [
            pod("scheduler", uid="another"),
            pod("scheduler", uid="known", restarts=1),
            pod("scheduler", uid="known", deleted=True),
        ],
        ids=["another pod", "restarted", "being deleted"],
    )
    def test_a_lost_scheduler_is_a_lost_cluster(self, scheduler: dict[str, Any]) -> None:
        """A scheduler that went away took all state along: the run fails, whatever took its place."""
        known = {"kind": "Dask", "name": "c", "scheduler": {"pod": "s", "uid": "known", "restarts": 0}}
        pods = [scheduler, *READY_PODS[1:], pod("driver")]

        assert settled(observed(status=started(cluster=known), pods=pods, **CHILDREN))["reason"] == "ClusterLost"

    def test_a_deleted_cluster_is_a_lost_cluster(self) -> None:
        """Somebody deleted the DaskCluster: the run does not wait for it."""
        status = started(cluster={"kind": "Dask", "name": "c"})

        assert settled(observed(status=status, job=job(), pods=[pod("driver")]))["reason"] == "ClusterLost"

    def test_lost_keys_are_a_lost_cluster(self) -> None:
        """Somebody deleted the Lease, and the keys with it: no other worker could join, and none is waited for."""
        known = {"kind": "Dask", "name": "c", "scheduler": {"pod": "s", "uid": "known", "restarts": 0}}
        pods = [pod("scheduler", uid="known"), *READY_PODS[1:], pod("driver")]
        found = settled(observed(status=started(cluster=known), pods=pods, **CHILDREN | {"lease": None}))

        assert (found["reason"], "Lease" in found["message"]) == ("ClusterLost", True)
        assert settled(observed(status=started(cluster=known), pods=pods, **CHILDREN))["phase"] == "Running"

    @pytest.mark.parametrize("status", [started(), started(phase="Running", readyTime=ago(5))], ids=["first", "later"])
    @pytest.mark.parametrize("kind", ["NetworkPolicy", "Role", "RoleBinding"])
    def test_refused_child_is_tried_again_soon_although_all_pods_are_ready(
        self, kind: str, status: dict[str, Any]
    ) -> None:
        """No event announces that a quota was raised or that a policy changed."""
        rights = tuple(child for child in access() if child["kind"] != kind)
        workers = (deployment("worker"), deployment("worker", number=1))
        children = CHILDREN | {"access": rights, "deployments": (deployment(), *workers)}
        refused = (Rejection(kind, "x", 403, "no"),)
        settings = dataclasses.replace(SETTINGS, network_policies=kind == "NetworkPolicy")
        seen = observed(status=status, pods=[*READY_PODS, pod("driver")], rejections=refused, **children)
        plan = decide(seen, settings, NOW)

        assert plan.requeue is not None
        assert plan.requeue <= RETRY_SECONDS
        assert (plan.status or {})["reason"] == "Rejected"
        assert (plan.status or {})["phase"] == status["phase"]

    def test_a_deleted_job_is_a_lost_driver(self) -> None:
        """Somebody deleted the Job: the flow is not started a second time."""
        status = started(flow={"job": "greetings-x", "attempts": 1})
        seen = observed(status=status, pods=READY_PODS, **CHILDREN | {"job": None})

        assert settled(seen)["reason"] == "DriverLost"

    @pytest.mark.parametrize("kind", ["Complete", "Failed"])
    def test_a_job_that_ended_without_a_pod_is_a_lost_driver(self, kind: str) -> None:
        """The pod was removed while the operator was away, and its outcome with it: no success is made up."""
        name = job()["metadata"]["name"]
        gone = {**job(), "status": {"conditions": [{"type": kind, "status": "True"}]}}
        seen = observed(status=started(flow={"job": name}), pods=READY_PODS, **CHILDREN | {"job": gone})

        assert settled(seen)["reason"] == "DriverLost"

    @pytest.mark.parametrize("reason", ["Succeeded", "Cancelled", "ParentEnded", "x" * 5000])
    def test_the_reason_of_a_driver_does_not_decide_the_phase(self, reason: str) -> None:
        """User code chooses it; the state and the exit code decide."""
        done = pod("driver", ended(1, outcome("Failed", reason, "no", 1)), phase="Failed")
        last = settled(observed(status=started(), pods=[done], **CHILDREN))
        final = settled(observed(status=last, verified_gone=True))

        assert (last["finalPhase"], final["phase"]) == ("Failed", "Failed")
        assert len(last["reason"]) <= REASON_LIMIT

    def test_an_ending_without_a_final_phase_has_that_of_its_reason(self) -> None:
        """Another client wrote it."""
        assert settled(observed(status=FINISHED, verified_gone=True))["phase"] == "Succeeded"

    def test_the_start_deadline_does_not_count_once_the_run_was_ready(self) -> None:
        """A worker that is lost later is waited for without hurry."""
        pods = [*READY_PODS[:2], pod("driver")]
        seen = observed(
            status=started(age=5000, readyTime=ago(4000)), pods=pods, stability=ReplicaStability(0), **CHILDREN
        )

        assert plan_for(seen).requeue == CHECK_SECONDS

    def test_the_active_deadline_ends_a_running_run(self) -> None:
        """spec.activeDeadlineSeconds counts from the start of the run."""
        seen = observed(
            spec(activeDeadlineSeconds=30), status=started(age=31), pods=[*READY_PODS, pod("driver")], **CHILDREN
        )

        assert settled(seen)["reason"] == "DeadlineExceeded"

    def test_the_end_is_written_before_anything_is_deleted(self) -> None:
        """A pass that finds the end deletes nothing yet."""
        plan = plan_for(observed(status=started(), pods=[pod("driver", ended(0, outcome()))], **CHILDREN))

        assert plan.actions == ()
        assert plan.requeue == 0


class TestTeardown:
    #: Of a cluster that only the finalizer of its upstream operator keeps.
    BEHIND_A_FINALIZER: ClassVar[dict[str, Any]] = {
        "deletionTimestamp": ago(1),
        "finalizers": ["kopf.zalando.org/KopfFinalizerMarker"],
    }

    def test_lease_is_all_that_is_deleted_of_a_finished_run(self) -> None:
        """It controls cluster, Job and rights."""
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
        """The garbage collector deletes nothing of an owner that a finalizer of another party keeps."""
        going = lease()
        going["metadata"] |= {"deletionTimestamp": ago(1), "finalizers": ["x/y"]}
        (action,) = plan_for(observed(status=FINISHED, lease=going, cluster=cluster())).actions

        assert isinstance(action, Delete)
        assert (action.resource.kind, action.background) == ("Lease", False)

    def test_a_background_deletion_is_repeated_in_the_foreground(self) -> None:
        """Behind another operator's finalizer pods would go on running: a foreground delete takes them along."""
        seen = observed(status=FINISHED, cluster=cluster(**self.BEHIND_A_FINALIZER), pods=(pod("worker"),))

        assert [type(action) for action in plan_for(seen).actions] == [Delete]

    @pytest.mark.parametrize("pods", [(), (pod("worker", deleted=True),)])
    def test_deletion_is_not_repeated_when_nothing_lives_on(self, pods: tuple[dict[str, Any], ...]) -> None:
        """The garbage collector has done its part: another delete would have it begin again, at every event."""
        plan = plan_for(observed(status=FINISHED, cluster=cluster(**self.BEHIND_A_FINALIZER), pods=pods))

        assert plan.actions == ()
        assert plan.requeue == pytest.approx(29, abs=1)

    def test_a_foreground_deletion_is_waited_for(self) -> None:
        """What is being deleted is left alone until it counts as stuck."""
        plan = plan_for(
            observed(status=FINISHED, cluster=cluster(deletionTimestamp=ago(1), finalizers=["foregroundDeletion"]))
        )

        assert plan.actions == ()
        assert plan.requeue == pytest.approx(29, abs=1)

    def test_a_stuck_deletion_is_let_go(self) -> None:
        """With the other operator away, its finalizer is dropped after 30 s."""
        going = cluster(deletionTimestamp=ago(31), finalizers=["foregroundDeletion", "x/y", DASK_KUBERNETES_FINALIZER])

        (action,) = plan_for(observed(status=FINISHED, cluster=going)).actions
        assert isinstance(action, DropFinalizers)
        assert action.left == ("foregroundDeletion", "x/y")

    @pytest.mark.parametrize("make", [cluster, job, lambda **meta: {**lease(), "metadata": lease()["metadata"] | meta}])
    def test_finalizers_of_others_stay(self, make: Callable[..., dict[str, Any]]) -> None:
        """Another party waits for something; the status shows for what."""
        going = make(deletionTimestamp=ago(100), finalizers=["foregroundDeletion", "x/y"])
        part = {"DaskCluster": "cluster", "Job": "job", "Lease": "lease"}[going["kind"]]
        plan = plan_for(observed(status=FINISHED, **{part: going}))

        assert plan.actions == ()
        assert plan.status is not None
        assert "finalizer x/y" in condition(plan.status, "ClusterDeleted")["message"]

    def test_what_came_too_late_goes_last(self) -> None:
        """Upstream operators make things of a cluster that is being deleted, also when the FlowRun itself is gone."""
        late = stored({"kind": "DaskWorkerGroup", "metadata": {"name": "late", "namespace": KEY.namespace}})
        seen = observed(status=FINISHED, upstream_children=(late,), orphans=(late,))

        for found in (seen, remains(seen)):
            (action,) = plan_for(found).actions
            assert isinstance(action, Delete)
            assert (action.resource.kind, action.name) == ("DaskWorkerGroup", "late")

    def test_what_has_an_owner_is_left_to_garbage_collection(self) -> None:
        """A controller that lives would replace it."""
        seen = observed(status=FINISHED, deployments=(deployment("worker", number=1),), pods=[pod("worker")])

        assert plan_for(seen).actions == ()

    def test_the_final_phase_needs_a_listing(self) -> None:
        """An empty store is no proof: the run stays in Stopping until a listing found nothing."""
        pending = settled(observed(status=FINISHED))
        assert pending["phase"] == "Stopping"
        assert condition(pending, "ClusterDeleted")["status"] == "False"
        assert settled(observed(status=FINISHED, verified_gone=True))["phase"] == "Succeeded"

    def test_the_record_goes_when_its_time_is_over(self) -> None:
        """A finished run is deleted ttlSecondsAfterFinished after its end, and not before."""
        gone = {"type": "ClusterDeleted", "status": "True", "reason": "NothingLeft"}
        status = {**FINISHED, "phase": "Succeeded", "conditions": [*FINISHED["conditions"], gone]}
        early = plan_for(observed(spec(ttlSecondsAfterFinished=10), status=status))
        late = plan_for(observed(spec(ttlSecondsAfterFinished=2), status=status))

        assert early.actions == ()
        assert early.requeue == pytest.approx(7)
        assert late.actions == (Delete(FLOW_RUN, "greetings", KEY.uid),)

    def test_children_of_a_run_that_is_gone_are_deleted(self) -> None:
        """What outlived its FlowRun is swept up."""
        left = (cluster(), job(), *access())
        with_lease = plan_for(remains(observed(**CHILDREN))).actions
        without_lease = plan_for(remains(observed(orphans=left))).actions

        assert [type(action) for action in with_lease] == [Delete]
        assert [type(action) for action in without_lease] == [Delete] * len(left)

    def test_nothing_is_created_for_a_run_that_is_being_deleted(self) -> None:
        """A FlowRun that is going gets no children any more."""
        seen = remains(observed(), run(deletionTimestamp=ago(1)))

        assert plan_for(seen).actions == ()

    def test_suspending_forgets_the_children_before_it_deletes_them(self) -> None:
        """What the operator deletes itself must not look lost to it."""
        seen = observed(spec(suspend=True), status=started(cluster={"kind": "Dask", "name": "c"}), **CHILDREN)
        first = plan_for(seen)
        second = plan_for(dataclasses.replace(seen, run=run(spec(suspend=True), first.status)))

        assert first.actions == ()
        assert first.status is not None
        assert "name" not in first.status["cluster"]
        assert [action.resource.kind for action in second.actions if isinstance(action, Delete)] == ["Lease"]

    @pytest.mark.parametrize("suspend", [True, False])
    def test_a_driver_that_suspension_stopped_did_not_end_the_run(self, suspend: bool) -> None:
        """It is gone before anything starts again, also where somebody lets the run go on meanwhile."""
        stopped = pod("driver", ended(3, outcome("Cancelled", "FlowCancelled", "stopped by SIGTERM", 3)), deleted=True)
        seen = observed(spec(suspend=suspend), status={"phase": "Suspended"}, pods=[stopped])
        plan = plan_for(seen)

        assert plan.actions == ()
        assert (plan.status or {"phase": "Suspended"})["phase"] == "Suspended"

    def test_a_run_that_is_let_go_says_so_before_it_starts(self) -> None:
        """From then on, what there is of it is new."""
        first = plan_for(observed(spec(), status={"phase": "Suspended"}, verified_gone=True))
        assert first.status is not None
        second = plan_for(observed(spec(), status=first.status))

        assert (first.actions, first.status["phase"]) == ((), "Starting")
        assert second.actions

    def test_a_suspended_run_keeps_what_it_has_used(self) -> None:
        """Its cluster and its Job are gone; their costs are not."""
        used = {"kind": "Dask", "name": "c", "workerSeconds": 10, "peakWorkers": 2, "address": "tls://c"}
        workers = {"workers": {"ready": 2, "target": 2}, "workersTime": ago(5)}
        status = started(cluster=used | workers, flow={"job": "j", "attempts": 2})
        left = settled(observed(spec(suspend=True), status=status, **CHILDREN))

        assert left["cluster"] == {"kind": "Dask", "workerSeconds": 20, "peakWorkers": 2}
        assert left["flow"] == {"attempts": 2, "endedAttempts": 2}

    def test_a_resumed_run_does_not_miss_the_cluster_of_its_former_life(self) -> None:
        status = started(cluster={"kind": "Dask", "workerSeconds": 20, "peakWorkers": 2}, flow={"attempts": 2})

        assert plan_for(observed(status=status)).actions != ()

    def test_a_suspended_run_can_be_cancelled(self) -> None:
        """It needs not start again for that."""
        plan = plan_for(observed(spec(suspend=True, cancel=True), status={"phase": "Suspended"}))

        assert plan.status is not None
        assert plan.status["reason"] == "Cancelled"


def test_an_illegal_move_tells_the_story() -> None:
    """A phase that cannot follow is a bug, and the error says how the run came there."""
    draft = Draft(run(status={"phase": "Succeeded", "story": [{"time": "t", "reason": "Created"}]}), NOW)

    with pytest.raises(IllegalTransition, match=r"Succeeded cannot become Running; .*Created"):
        draft.phase("Running")

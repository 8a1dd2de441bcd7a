"""What blocks and ends a run. The tests call `decide` with values, without an API server."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from flowcluster_api.driver import REASON_LIMIT
from flowcluster_operator.errors import IllegalTransition
from flowcluster_operator.model.failures import Rejection, WarningEvent
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS, RETRY_SECONDS
from flowcluster_operator.status.draft import Draft
from tests.support.makers import (
    NOW,
    SETTINGS,
    access,
    ago,
    cluster,
    deployment,
    ended,
    job,
    observed,
    outcome,
    pod,
    run,
    spec,
)  # fmt: skip
from tests.support.plans import (
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
    def test_status_names_the_cause_and_what_to_change(
        self, world: dict[str, Any], reason: str, words: list[str]
    ) -> None:
        status = settled(observed(status=started(), **{**CHILDREN, **world}))

        assert status["reason"] == reason
        for word in words:
            assert word in status["message"]

    def test_start_deadline_ends_the_run_with_the_cause(self) -> None:
        blocked = pod("driver", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}})
        status = settled(observed(status=started(age=601), pods=[blocked], **CHILDREN))

        assert status["phase"] == "Stopping"
        assert condition(status, "Finished")["reason"] == "ErrImagePull"
        assert "600 s" in status["message"]

    def test_next_pass_is_due_at_the_start_deadline(self) -> None:
        """No event announces a deadline."""
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
    def test_end_of_the_driver_decides_reason_and_message(self, state: dict[str, Any], reason: str, words: str) -> None:
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
        """The kubelet ends a deleted pod by a signal, and can report the last status before the pod is gone."""
        end = pod("driver", ended(code), phase="Failed", deleted=deleted)

        assert settled(observed(status=started(), pods=[*READY_PODS, end], **CHILDREN))["reason"] == reason

    @pytest.mark.parametrize("name", ["result", "resultUrl", "resultOmitted"])
    def test_status_has_the_fields_about_the_result_that_the_driver_reports(self, name: str) -> None:
        """The driver reports the value, where it is stored, or why it is omitted."""
        reported = json.dumps(json.loads(outcome()) | {name: "[1]"})
        done = pod("driver", ended(0, reported), phase="Succeeded")
        flow = settled(observed(status=started(), pods=[done], **CHILDREN))["flow"]

        assert {key: text for key, text in flow.items() if key.startswith("result")} == {name: "[1]"}

    def test_failed_attempt_does_not_end_the_run_when_an_attempt_is_left(self) -> None:
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "backoffLimit": 1}}
        failed = pod("driver", ended(1, outcome("Failed", "FlowFailed", "x", 1)), phase="Failed")

        assert settled(observed(body, status=started(), pods=[failed], **CHILDREN))["phase"] == "Starting"

    def test_flow_that_cannot_be_started_is_not_retried(self) -> None:
        """Invalid parameters stay invalid."""
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "backoffLimit": 5}}
        failed = pod("driver", ended(222, outcome("Failed", "InvalidParameters", "x", 222)), phase="Failed")

        assert settled(observed(body, status=started(), pods=[failed], **CHILDREN))["reason"] == "InvalidParameters"

    def test_cancel_ends_a_running_run(self) -> None:
        """`spec.cancel` stops the run and keeps its record."""
        seen = observed(spec(cancel=True), status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN)

        assert condition(settled(seen), "Finished")["reason"] == "Cancelled"

    def test_run_succeeds_when_its_flow_completed_before_the_cancel(self) -> None:
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
    def test_run_ends_as_cluster_lost_when_its_scheduler_is_lost(self, scheduler: dict[str, Any]) -> None:
        """All state is lost with the scheduler, so a new scheduler does not help the run."""
        known = {"kind": "Dask", "name": "c", "scheduler": {"pod": "s", "uid": "known", "restarts": 0}}
        pods = [scheduler, *READY_PODS[1:], pod("driver")]

        assert settled(observed(status=started(cluster=known), pods=pods, **CHILDREN))["reason"] == "ClusterLost"

    def test_run_ends_as_cluster_lost_when_its_dask_cluster_is_deleted(self) -> None:
        status = started(cluster={"kind": "Dask", "name": "c"})

        assert settled(observed(status=status, job=job(), pods=[pod("driver")]))["reason"] == "ClusterLost"

    def test_run_ends_as_cluster_lost_when_its_lease_is_deleted(self) -> None:
        """The credentials are deleted together with the Lease, so no worker could join the cluster."""
        known = {"kind": "Dask", "name": "c", "scheduler": {"pod": "s", "uid": "known", "restarts": 0}}
        pods = [pod("scheduler", uid="known"), *READY_PODS[1:], pod("driver")]
        found = settled(observed(status=started(cluster=known), pods=pods, **CHILDREN | {"lease": None}))

        assert (found["reason"], "Lease" in found["message"]) == ("ClusterLost", True)
        assert settled(observed(status=started(cluster=known), pods=pods, **CHILDREN))["phase"] == "Running"

    @pytest.mark.parametrize("status", [started(), started(phase="Running", readyTime=ago(5))], ids=["first", "later"])
    @pytest.mark.parametrize("kind", ["NetworkPolicy", "Role", "RoleBinding"])
    def test_refused_child_is_requested_again_soon_although_all_pods_are_ready(
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

    def test_run_ends_as_driver_lost_when_its_job_is_deleted(self) -> None:
        """The operator does not start the flow a second time."""
        status = started(flow={"job": "greetings-x", "attempts": 1})
        seen = observed(status=status, pods=READY_PODS, **CHILDREN | {"job": None})

        assert settled(seen)["reason"] == "DriverLost"

    @pytest.mark.parametrize("kind", ["Complete", "Failed"])
    def test_run_ends_as_driver_lost_when_its_job_ended_without_a_pod(self, kind: str) -> None:
        """The pod and its outcome were removed while the operator was down: the success is not known."""
        name = job()["metadata"]["name"]
        gone = {**job(), "status": {"conditions": [{"type": kind, "status": "True"}]}}
        seen = observed(status=started(flow={"job": name}), pods=READY_PODS, **CHILDREN | {"job": gone})

        assert settled(seen)["reason"] == "DriverLost"

    @pytest.mark.parametrize("reason", ["Succeeded", "Cancelled", "ParentEnded", "x" * 5000])
    def test_reason_in_the_outcome_does_not_decide_the_phase(self, reason: str) -> None:
        """User code can choose the reason; the state and the exit code decide."""
        done = pod("driver", ended(1, outcome("Failed", reason, "no", 1)), phase="Failed")
        last = settled(observed(status=started(), pods=[done], **CHILDREN))
        final = settled(observed(status=last, verified_gone=True))

        assert (last["finalPhase"], final["phase"]) == ("Failed", "Failed")
        assert len(last["reason"]) <= REASON_LIMIT

    def test_final_phase_follows_from_the_reason_when_it_is_missing(self) -> None:
        """Another client wrote the status."""
        assert settled(observed(status=FINISHED, verified_gone=True))["phase"] == "Succeeded"

    def test_start_deadline_does_not_apply_once_the_run_was_ready(self) -> None:
        """The run then waits without a limit for a lost worker."""
        pods = [*READY_PODS[:2], pod("driver")]
        seen = observed(
            status=started(age=5000, readyTime=ago(4000)), pods=pods, stability=ReplicaStability(0), **CHILDREN
        )

        assert plan_for(seen).requeue == CHECK_SECONDS

    def test_active_deadline_ends_a_running_run(self) -> None:
        """`spec.activeDeadlineSeconds` counts from the start of the run."""
        seen = observed(
            spec(activeDeadlineSeconds=30), status=started(age=31), pods=[*READY_PODS, pod("driver")], **CHILDREN
        )

        assert settled(seen)["reason"] == "DeadlineExceeded"

    def test_status_has_the_end_before_a_child_is_deleted(self) -> None:
        """The pass that observes the end deletes nothing."""
        plan = plan_for(observed(status=started(), pods=[pod("driver", ended(0, outcome()))], **CHILDREN))

        assert plan.actions == ()
        assert plan.requeue == 0


def test_illegal_move_between_phases_raises_an_error_with_the_story() -> None:
    """It is a bug of the operator. The story shows how the run reached the phase."""
    draft = Draft(run(status={"phase": "Succeeded", "story": [{"time": "t", "reason": "Created"}]}), NOW)

    with pytest.raises(IllegalTransition, match=r"Succeeded cannot become Running; .*Created"):
        draft.phase("Running")

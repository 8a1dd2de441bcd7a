"""What the operator decides, one sentence each. No API server: values in, a plan out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from flowcluster_api.driver import Outcome
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.errors import IllegalTransition
from flowcluster_operator.model import (
    Create,
    Delete,
    DriverSigns,
    DropFinalizers,
    Observed,
    Parent,
    Plan,
    Rejection,
    Warned,
)  # fmt: skip
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.resources import FLOW_RUN
from flowcluster_operator.status import Draft
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
    run,
    spec,
)  # fmt: skip


def plan_for(seen: Observed) -> Plan:
    return decide(seen, SETTINGS, NOW)


def settled(seen: Observed) -> dict[str, Any]:
    """The status after the plan for `seen`."""
    status = plan_for(seen).status
    assert status is not None
    return status


def kinds(plan: Plan) -> list[str]:
    """Kinds of what is created."""
    return [action.resource.kind for action in plan.actions if isinstance(action, Create)]


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(item for item in status["conditions"] if item["type"] == kind)


def started(**more: Any) -> dict[str, Any]:
    """A status of a run that was started `age` seconds ago."""
    return {"phase": "Starting", "startTime": ago(more.pop("age", 10)), **more}


READY_PODS = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
ACCESS_KINDS = ["Role", "RoleBinding", "ServiceAccount"]
RIGHTS: dict[str, Any] = {"lease": lease(), "access": access()}
CHILDREN: dict[str, Any] = {"cluster": cluster(), "job": job(), "deployments": (deployment(),), **RIGHTS}
FINISHED = {
    "phase": "Stopping",
    "finishTime": ago(3),
    "conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded", "message": "done"}],
}


class TestStart:
    def test_cluster_and_job_are_created_one_after_the_other_at_once(self) -> None:
        """A new run gets its cluster and its driver's rights together, and in the next passes the driver."""
        first = plan_for(observed())
        role, _, account = access()
        second = plan_for(observed(cluster=cluster(), lease=lease(), access=(role, account)))
        third = plan_for(observed(cluster=cluster(), **RIGHTS))

        assert kinds(first) == ["DaskCluster", "Lease", "Role", "ServiceAccount"]
        assert kinds(second) == ["RoleBinding"]
        assert first.requeue == second.requeue == 0
        assert kinds(third) == ["Job"]

    def test_a_run_without_a_cluster_gets_a_driver_only(self) -> None:
        """No cluster is made for a run that asks for none."""
        body = spec(workers=None)

        assert kinds(plan_for(observed(body))) == ["Lease", "Role", "ServiceAccount"]
        assert kinds(plan_for(observed(body, **RIGHTS))) == ["Job"]

    def test_a_driver_may_write_its_own_lease_and_ask_for_runs(self) -> None:
        """The rights of a driver name one Lease and one FlowRun; what it may do besides is to create FlowRuns."""
        role, binding, account = (create.body for create in driver_access(KEY, FlowRunSpec(**spec()), None))
        own = account["metadata"]["name"]

        named = {rule["resources"][0]: (rule["resourceNames"], rule["verbs"]) for rule in role["rules"][:2]}
        assert named == {"leases": ([own], ["get", "patch"]), "flowruns": ([KEY.name], ["get"])}
        assert [(rule["resources"], rule["verbs"]) for rule in role["rules"][2:]] == [(["flowruns"], ["create"])]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": own, "namespace": KEY.namespace}]

    def test_a_driver_keeps_the_account_that_its_template_names(self) -> None:
        """It gets the rights to its Lease, and no account is made."""
        body = spec()
        body["flow"]["template"] = {"spec": {"serviceAccountName": "reporter"}}
        role, binding = (create.body for create in driver_access(KEY, FlowRunSpec(**body), None))

        assert role["kind"] == "Role"
        assert binding["subjects"][0]["name"] == "reporter"

    def test_a_run_beneath_another_one_is_kept_by_the_driver_of_that(self) -> None:
        """The rights to it exist before its Lease does, and belong to its parent's driver."""
        body, parent = spec(flow=False), Parent("above", "above-1a2b3c", is_over=False)
        rights = access(body, parent)

        assert kinds(plan_for(observed(body, parent=parent))) == ["DaskCluster", "Role"]
        assert kinds(plan_for(observed(body, parent=parent, cluster=cluster(), access=rights))) == ["Lease"]
        assert rights[1]["subjects"][0]["name"] == parent.account

    def test_a_run_beneath_another_one_ends_with_it(self) -> None:
        """Nobody is left to want it; what its driver said before counts more."""
        body, parent = spec(flow=False), Parent("above", "above-1a2b3c", is_over=True)
        heard = DriverSigns(holder="above-x", outcome=None, silent=1, asked=0)
        said = heard._replace(outcome=Outcome.from_json(outcome()))
        children = {"cluster": cluster(), "lease": lease(), "deployments": (deployment(),), "parent": parent}

        cut = settled(observed(body, status=started(), driver=heard, **children))
        closed = settled(observed(body, status=started(), driver=said, **children))

        assert (cut["phase"], cut["reason"]) == ("Stopping", "ParentEnded")
        assert settled(observed(body, status=cut, verified_gone=True))["phase"] == "Cancelled"
        assert closed["reason"] == "Succeeded"

    def test_a_run_without_a_flow_gets_a_cluster_only(self) -> None:
        """No driver is made where the driver runs elsewhere, but a Lease by which it can show that it lives."""
        assert kinds(plan_for(observed(spec(flow=False)))) == ["DaskCluster", "Lease"]

    def test_a_referenced_cluster_is_used_and_not_created(self) -> None:
        """spec.cluster.ref gives the driver that cluster's address and makes none."""
        body = spec(workers=None, cluster={"kind": "Dask", "ref": {"name": "shared"}})
        (create,) = plan_for(observed(body, referenced={"metadata": {"name": "shared"}}, **RIGHTS)).actions

        assert isinstance(create, Create)
        environment = create.body["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {
            "name": "FLOWCLUSTER_CLUSTER_ADDRESS",
            "value": "tcp://shared-scheduler.team.svc.cluster.local:8786",
        } in (environment)

    def test_children_belong_to_the_run(self) -> None:
        """Garbage collection alone can remove what a run has."""
        for action in (*plan_for(observed()).actions, *plan_for(observed(**RIGHTS)).actions):
            assert isinstance(action, Create)
            (owner,) = action.body["metadata"]["ownerReferences"]

            assert owner["uid"] == KEY.uid
            assert owner["controller"] is True

    def test_the_run_is_running_when_cluster_and_driver_are(self) -> None:
        """Running means that the minimum of workers is Ready and the driver started."""
        status = settled(observed(status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN))

        assert status["phase"] == "Running"
        assert condition(status, "ClusterReady")["status"] == "True"
        assert status["cluster"]["address"].startswith("tcp://greetings-")
        assert status["display"]["workers"] == "2/2"

    def test_the_run_is_starting_while_a_worker_is_missing(self) -> None:
        """One Ready worker of two is not a usable cluster."""
        status = settled(observed(status=started(), pods=[*READY_PODS[:2], pod("driver")], **CHILDREN))

        assert status["phase"] == "Starting"
        assert status["message"] == "waiting for 1 of 2 workers"

    @pytest.mark.parametrize(
        ("state", "scheduled", "stage"),
        [
            ({}, {"status": "Unknown"}, "scheduling"),
            ({"waiting": {"reason": "ContainerCreating"}}, {"status": "True"}, "pulling image"),
            ({"terminated": {"exitCode": 0}}, {"status": "True"}, "starting"),
        ],
    )
    def test_how_far_the_scheduler_is(self, state: dict[str, Any], scheduled: dict[str, str], stage: str) -> None:
        """Who waits reads what for."""
        scheduler = pod("scheduler", state, scheduled=scheduled)
        status = settled(observed(status=started(), pods=[scheduler, *READY_PODS[1:], pod("driver")], **CHILDREN))

        assert status["message"] == f"waiting for the scheduler ({stage})"

    def test_a_settled_run_is_not_written_again(self) -> None:
        """The same world gives the same status, and so no write."""
        seen = observed(status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN)
        again = dataclasses.replace(seen, run=run(status=settled(seen)))

        assert plan_for(again).status is None

    def test_a_kind_that_nobody_serves_here_fails_at_once(self) -> None:
        """A Ray cluster is refused by name while only Dask is served."""
        status = settled(observed(spec(workers=None, cluster={"kind": "Ray"})))

        assert condition(status, "Finished")["reason"] == "Unsupported"
        assert "spec.cluster.kind" in status["message"]

    @pytest.mark.parametrize(
        ("template", "words"),
        [({"spec": "x"}, "spec.flow.template.spec"), ({"spec": {"containers": ["x"]}}, "containers")],
    )
    def test_a_template_that_is_none_fails_the_run(self, template: dict[str, Any], words: str) -> None:
        """What the schema cannot check is refused by the operator, which names the field."""
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "template": template}}
        status = settled(observed(body))

        assert status["reason"] == "InvalidTemplate"
        assert words in status["message"]


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
                {"warnings": (Warned("Job", "x", "FailedCreate", "forbidden by policy"),)},
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
            (ended(2, outcome("Failed", "InvalidParameters", "names", 2)), "InvalidParameters", "names"),
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
        failed = pod("driver", ended(2, outcome("Failed", "InvalidParameters", "x", 2)), phase="Failed")

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

    def test_a_deleted_job_is_a_lost_driver(self) -> None:
        """Somebody deleted the Job: the flow is not started a second time."""
        status = started(flow={"job": "greetings-x", "attempts": 1})
        seen = observed(status=status, cluster=cluster(), deployments=(deployment(),), pods=READY_PODS)

        assert settled(seen)["reason"] == "DriverLost"

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
    def test_a_finished_run_loses_its_children(self) -> None:
        """Cluster, Job, and what gave its driver rights are deleted."""
        actions = plan_for(observed(status=FINISHED, **CHILDREN)).actions

        assert all(isinstance(action, Delete) for action in actions)
        assert [action.resource.kind for action in actions] == ["DaskCluster", "Job", "Lease", *ACCESS_KINDS]

    def test_a_background_deletion_is_repeated_in_the_foreground(self) -> None:
        """Behind another operator's finalizer pods would go on running: a foreground delete takes them along."""
        going = cluster(deletionTimestamp=ago(1), finalizers=["kopf.zalando.org/KopfFinalizerMarker"])

        assert [type(action) for action in plan_for(observed(status=FINISHED, cluster=going)).actions] == [Delete]

    def test_a_foreground_deletion_is_waited_for(self) -> None:
        """What is being deleted is left alone until it counts as stuck."""
        plan = plan_for(
            observed(status=FINISHED, cluster=cluster(deletionTimestamp=ago(1), finalizers=["foregroundDeletion"]))
        )

        assert plan.actions == ()
        assert plan.requeue == pytest.approx(29, abs=1)

    def test_a_stuck_deletion_is_let_go(self) -> None:
        """With the other operator away, its finalizer is dropped after 30 s."""
        going = cluster(deletionTimestamp=ago(31), finalizers=["foregroundDeletion", "x"])

        assert [type(action) for action in plan_for(observed(status=FINISHED, cluster=going)).actions] == [
            DropFinalizers
        ]

    def test_the_final_phase_needs_a_listing(self) -> None:
        """An empty store is no proof: the run stays in Stopping until a listing found nothing."""
        assert plan_for(observed(status=FINISHED)).status is None
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
        actions = plan_for(Observed(key=KEY, run=None, **CHILDREN)).actions

        assert [type(action) for action in actions] == [Delete] * 6

    def test_nothing_is_created_for_a_run_that_is_being_deleted(self) -> None:
        """A FlowRun that is going gets no children any more."""
        seen = observed(run=run(deletionTimestamp=ago(1)))

        assert plan_for(seen).actions == ()

    def test_suspending_forgets_the_children_before_it_deletes_them(self) -> None:
        """What the operator deletes itself must not look lost to it."""
        seen = observed(spec(suspend=True), status=started(cluster={"kind": "Dask", "name": "c"}), **CHILDREN)
        first = plan_for(seen)
        second = plan_for(dataclasses.replace(seen, run=run(spec(suspend=True), first.status)))

        assert first.actions == ()
        assert first.status is not None
        assert "cluster" not in first.status
        assert [type(action) for action in second.actions] == [Delete] * 6


def test_an_illegal_move_tells_the_story() -> None:
    """A phase that cannot follow is a bug, and the error says how the run came there."""
    draft = Draft(run(status={"phase": "Succeeded", "story": [{"time": "t", "reason": "Created"}]}), NOW)

    with pytest.raises(IllegalTransition, match=r"Succeeded cannot become Running; .*Created"):
        draft.phase("Running")

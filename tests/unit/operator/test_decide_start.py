"""What the operator decides while a run starts, one sentence each. No API server: values in, a plan out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.driver import Outcome
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.dask_cluster import dask_cluster
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.references import Parent
from tests.support.makers import (
    KEY,
    KEYS,
    LEASE_UID,
    SETTINGS,
    access,
    ago,
    cluster,
    deployment,
    job,
    lease,
    observed,
    outcome,
    pod,
    run,
    spec,
)  # fmt: skip
from tests.support.plans import (
    CHILDREN,
    READY_PODS,
    RIGHTS,
    condition,
    kinds,
    plan_for,
    secret_of,
    settled,
    started,
)  # fmt: skip


class TestStart:
    def test_lease_and_rights_and_credentials_are_created_before_pods(self) -> None:
        """A run gets its Lease, then its driver's account and its credentials, then cluster and driver together."""
        role, _, account = access()
        there: dict[str, Any] = {"lease": lease(), "access": (account,)}
        plans = [
            plan_for(observed()),
            plan_for(observed(lease=lease())),
            plan_for(observed(**there)),
            plan_for(observed(**there, credentials=KEYS)),
            plan_for(observed(lease=lease(), access=(account, role), credentials=KEYS, cluster=cluster(), job=job())),
        ]

        assert [kinds(plan) for plan in plans] == [
            ["Lease"],
            ["ServiceAccount", "Secret"],
            ["Secret"],
            ["DaskCluster", "Job", "Role"],
            ["RoleBinding"],
        ]
        assert {plan.requeue for plan in plans} == {0}

    def test_rights_are_not_created_again_when_a_driver_had_them(self) -> None:
        """A driver that has sent a heartbeat had its rights: an administrator has deleted them."""
        heartbeat = DriverHeartbeat(holder="run-x/1", outcome=None, silent_for=1, confirmed_for=0)
        gone = CHILDREN | {"access": ()}

        assert kinds(plan_for(observed(status=started(), **gone))) == ["ServiceAccount"]
        assert kinds(plan_for(observed(status=started(), driver=heartbeat, **gone))) == []

    @pytest.mark.parametrize(
        ("body", "creating", "message"),
        [
            (
                spec(),
                "DaskCluster and Job {0}",
                "waiting for the scheduler and 2 of 2 workers, waiting for the driver",
            ),
            (spec(flow=False), "DaskCluster", "waiting for the scheduler and 2 of 2 workers"),
            (spec(workers=None), "Job {0}", "waiting for the driver"),
        ],
    )
    def test_first_status_shows_what_is_created_and_what_the_run_waits_for(
        self, body: dict[str, Any], creating: str, message: str
    ) -> None:
        plan = plan_for(observed(body, status={}))

        assert plan.status is not None
        assert (plan.status["reason"], plan.status["message"], plan.may_wait) == ("Waiting", message, False)
        assert [(event.reason, event.message) for event in plan.events] == [
            ("Creating", creating.format(names.child_name(KEY.name, KEY.uid)))
        ]

    def test_run_without_a_cluster_gets_only_a_driver(self) -> None:
        """The operator creates no cluster for a run whose spec has none."""
        body = spec(workers=None)

        assert kinds(plan_for(observed(body))) == ["Lease"]
        assert kinds(plan_for(observed(body, **RIGHTS))) == ["Job"]

    def test_driver_may_keep_its_own_lease_and_read_its_own_run(self) -> None:
        """The rights of a driver name one Lease and one FlowRun, and are no others."""
        role, binding, account = (create.body for create in driver_access(KEY, FlowRunSpec(**spec()), None))
        own, run = account["metadata"]["name"], names.child_name(KEY.name, KEY.uid)

        named = {rule["resources"][0]: (rule["resourceNames"], rule["verbs"]) for rule in role["rules"]}
        assert named == {"leases": ([run], ["get", "patch"]), "flowruns": ([KEY.name], ["get"])}
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": own, "namespace": KEY.namespace}]

    def test_driver_keeps_the_account_that_its_template_names(self) -> None:
        """That account gets the rights to the Lease, and the operator creates no account."""
        body = spec()
        body["flow"]["template"] = {"spec": {"serviceAccountName": "reporter"}}
        role, binding = (create.body for create in driver_access(KEY, FlowRunSpec(**body), None))

        assert role["kind"] == "Role"
        assert binding["subjects"][0]["name"] == "reporter"

    def test_lease_of_a_child_run_is_renewed_by_the_driver_of_its_parent(self) -> None:
        """The rights to it belong to its parent's driver."""
        body, parent = spec(flow=False), Parent("above", "above-1a2b3c", "above-4d5e6f", is_over=False)
        rights = access(body, parent)

        assert kinds(plan_for(observed(body, parent=parent))) == ["Lease"]
        assert kinds(plan_for(observed(body, parent=parent, lease=lease()))) == ["DaskCluster", "Role"]
        (made,) = plan_for(observed(body, parent=parent, access=rights, lease=lease())).actions
        assert isinstance(made, Create)
        assert secret_of(made.body["spec"]["worker"]["spec"]) == parent.credentials
        assert rights[1]["subjects"][0]["name"] == parent.account

    def test_child_run_creates_no_pods_when_its_parent_has_no_credentials(self) -> None:
        """The parent has lost its credentials and is about to end: no driver could use the cluster."""
        parent = Parent("above", "above-1a2b3c", None, is_over=False)
        seen = observed(spec(flow=False), parent=parent, access=access(spec(flow=False), parent), lease=lease())

        assert kinds(plan_for(seen)) == []

    def test_run_has_its_own_credentials(self) -> None:
        """All of its pods mount a Secret. The Lease controls it, and the API server has chosen its name."""
        (made,) = plan_for(observed(lease=lease(), access=access())).actions
        assert isinstance(made, Create)
        (owner,) = made.body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("Lease", LEASE_UID, True)

        assert "name" not in made.body["metadata"]
        dask, driver = (
            create.body["spec"] for create in plan_for(observed(**RIGHTS)).actions if isinstance(create, Create)
        )
        pods = [dask["scheduler"]["spec"], dask["worker"]["spec"], driver["template"]["spec"]]
        assert [secret_of(item) for item in pods] == [KEYS] * 3

    def test_child_run_ends_when_its_parent_has_ended(self) -> None:
        """An outcome that its driver has reported before takes precedence."""
        body, parent = spec(flow=False), Parent("above", "above-1a2b3c", "above-4d5e6f", is_over=True)
        running = DriverHeartbeat(holder="above-x", outcome=None, silent_for=1, confirmed_for=0)
        completed = running._replace(outcome=Outcome.from_json(outcome()))
        children = {"cluster": cluster(), "lease": lease(), "deployments": (deployment(),), "parent": parent}

        stopped = settled(observed(body, status=started(), driver=running, **children))
        succeeded = settled(observed(body, status=started(), driver=completed, **children))

        assert (stopped["phase"], stopped["reason"]) == ("Stopping", "ParentEnded")
        assert settled(observed(body, status=stopped, verified_gone=True))["phase"] == "Cancelled"
        assert succeeded["reason"] == "Succeeded"

    def test_run_without_a_flow_gets_only_a_cluster_and_a_lease(self) -> None:
        """Its driver runs elsewhere, and renews the Lease."""
        body = spec(flow=False)

        assert kinds(plan_for(observed(body))) == ["Lease"]
        assert kinds(plan_for(observed(body, lease=lease()))) == ["Secret"]
        assert kinds(plan_for(observed(body, lease=lease(), credentials=KEYS))) == ["DaskCluster"]

    def test_referenced_cluster_is_used_and_not_created(self) -> None:
        """With `spec.cluster.ref`, the driver gets that cluster's address, and the operator creates no cluster."""
        body = spec(workers=None, cluster={"kind": "Dask", "ref": {"name": "shared"}})
        shared = {"metadata": {"name": "shared"}, "spec": {"worker": {"spec": {"containers": []}}}}
        (create,) = plan_for(observed(body, referenced=shared, **RIGHTS)).actions

        assert isinstance(create, Create)
        environment = create.body["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {
            "name": "FLOWCLUSTER_CLUSTER_ADDRESS",
            "value": "tcp://shared-scheduler.team.svc.cluster.local:8786",
        } in (environment)

    def test_another_runs_cluster_is_used_with_its_keys(self) -> None:
        """The driver is let in by the keys of the run that spec.cluster.ref leads to, and there are no others."""
        body = spec(workers=None, cluster={"kind": "Dask", "ref": {"name": "theirs"}})
        theirs = dask_cluster(KEY, FlowRunSpec(**spec()), SETTINGS, 1, "keys-of-theirs")
        (create,) = plan_for(observed(body, referenced=theirs, **RIGHTS | {"credentials": None})).actions

        assert isinstance(create, Create)
        pod = create.body["spec"]["template"]["spec"]
        assert secret_of(pod) == "keys-of-theirs"
        address = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}[
            "FLOWCLUSTER_CLUSTER_ADDRESS"
        ]
        assert address == "tls://theirs-scheduler.team.svc.cluster.local:8786"

    def test_children_belong_to_the_run(self) -> None:
        """Garbage collection can remove what a run has without the operator: the Lease, and what that controls."""
        (first,) = plan_for(observed()).actions
        others = [
            *plan_for(observed(lease=lease())).actions,
            *plan_for(observed(lease=lease(), credentials=KEYS)).actions,
        ]
        others += plan_for(observed(**RIGHTS)).actions
        owners = []
        for action in (first, *others):
            assert isinstance(action, Create)
            (owner,) = action.body["metadata"]["ownerReferences"]
            owners.append((owner["uid"], owner["controller"], owner["blockOwnerDeletion"]))

        assert owners == [(KEY.uid, True, True), *[(LEASE_UID, True, True)] * len(others)]

    def test_nothing_is_created_while_the_lease_is_being_deleted(self) -> None:
        """It would be deleted with the Lease."""
        going = lease()
        going["metadata"] |= {"deletionTimestamp": ago(1), "finalizers": ["foregroundDeletion"]}

        assert kinds(plan_for(observed(lease=going))) == []

    def test_run_is_running_when_cluster_and_driver_are_ready(self) -> None:
        """Running means that the minimum of workers is Ready and the driver started."""
        status = settled(observed(status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN))

        assert status["phase"] == "Running"
        assert condition(status, "ClusterReady")["status"] == "True"
        assert status["cluster"]["address"].startswith("tls://greetings-")
        assert status["display"]["workers"] == "2/2"

    def test_run_is_starting_while_a_worker_is_missing(self) -> None:
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
    def test_message_names_the_stage_of_a_scheduler_that_is_not_ready(
        self, state: dict[str, Any], scheduled: dict[str, str], stage: str
    ) -> None:
        scheduler = pod("scheduler", state, scheduled=scheduled)
        status = settled(observed(status=started(), pods=[scheduler, *READY_PODS[1:], pod("driver")], **CHILDREN))

        assert status["message"] == f"waiting for the scheduler ({stage})"

    def test_status_is_not_written_again_when_nothing_has_changed(self) -> None:
        """The same observed state gives the same status, and so no write."""
        seen = observed(status=started(), pods=[*READY_PODS, pod("driver")], **CHILDREN)
        again = dataclasses.replace(seen, run=run(status=settled(seen)))

        assert plan_for(again).status is None

    @pytest.mark.parametrize(
        ("template", "words"),
        [({"spec": "x"}, "spec.flow.template.spec"), ({"spec": {"containers": ["x"]}}, "containers")],
    )
    def test_run_fails_when_a_template_is_invalid(self, template: dict[str, Any], words: str) -> None:
        """The operator refuses what the schema cannot check, and names the field."""
        body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "template": template}}
        status = settled(observed(body))

        assert status["reason"] == "InvalidTemplate"
        assert words in status["message"]

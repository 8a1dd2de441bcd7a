"""What the operator decides while a run starts, one sentence each. No API server: values in, a plan out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api.driver import Outcome
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.model import (
    Create,
    DriverSigns,
    Parent,
)  # fmt: skip
from tests.support.makers import (
    KEY,
    access,
    cluster,
    deployment,
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
    settled,
    started,
)  # fmt: skip


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

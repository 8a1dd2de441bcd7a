"""A shared cluster, pass by pass, when it is suspended, shut down and upgraded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api.lease import Demand
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.plan import Delete, PatchObject
from flowcluster_operator.resources import LEASE, NETWORK_POLICY
from flowcluster_operator.shared_cluster_use import allows
from tests.support.makers import ago
from tests.support.plans import condition
from tests.support.shared import (
    GROUPS,
    NAME,
    USER,
    bare,
    created,
    idle,
    lease,
    plan_for,
    serving,
    shared,
    spec,
    status_after,
    with_status,
)

Body = dict[str, Any]
BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
STARTING: Body = {"phase": "Starting", "kind": "Dask", "startTime": ago(5), "restarts": 0}


# Suspended and idle.


def test_suspended_cluster_has_its_status_written_before_it_is_deleted() -> None:
    seen = serving(spec(suspend=True))
    first = plan_for(seen)
    assert first.status is not None
    second = plan_for(with_status(seen, first.status))

    assert (first.actions, first.status["phase"]) == ((), "Suspended")
    assert not {"address", "workers", "scheduler", "startTime"} & set(first.status)
    assert [(action.resource, action.name) for action in second.actions if isinstance(action, Delete)] == [
        (LEASE, NAME)
    ]


@pytest.mark.parametrize("demand", [Demand(0), Demand(1), Demand(1, (), (("gpu", 1),))])
def test_cluster_that_is_idle_for_long_is_shut_down_with_its_scheduler(demand: Demand) -> None:
    """The keeper requests the minimum of each group without work, too."""
    signs = idle(600)._replace(demand=demand)
    status = status_after(serving(spec(idleShutdownSeconds=600, **GROUPS), driver=signs))

    assert (status["phase"], status["reason"]) == ("Sleeping", c.IDLE_SHUTDOWN)
    assert condition(status, c.READY)["status"] == "True"


@pytest.mark.parametrize(
    ("signs", "users"),
    [
        (idle(599), ()),
        (idle(600, confirmed=1.0), ()),
        (idle(600, silent_for=61.0), ()),
        (idle(600)._replace(demand=Demand(2)), ()),
        (idle(600)._replace(demand=Demand(0, (), (("gpu", 1),))), ()),
        (idle(600)._replace(progress=None), ()),
        (idle(600), (USER,)),
        (None, ()),
    ],
)
def test_cluster_is_not_shut_down_when_it_works_or_may_work(
    signs: DriverHeartbeat | None, users: tuple[Any, ...]
) -> None:
    seen = serving(spec(idleShutdownSeconds=600), driver=signs, users=users)

    assert status_after(seen)["phase"] == "Ready"


def test_sleeping_cluster_wakes_for_a_run_only_when_nothing_of_it_is_left() -> None:
    body, status = spec(idleShutdownSeconds=600), {"phase": "Sleeping", "kind": "Dask", "restarts": 1}
    asleep = bare(body, status, verified_gone=True)
    wanted = dataclasses.replace(asleep, users=(USER,))
    ending = bare(body, status, users=(USER,), lease=lease())

    assert plan_for(asleep).requeue is None
    assert status_after(wanted)["phase"] == "Starting"
    assert "FlowRun report" in status_after(wanted)["story"][-1]["message"]
    assert status_after(wanted)["restarts"] == 1
    assert plan_for(ending).status is None or plan_for(ending).status["phase"] == "Sleeping"  # type: ignore[index]
    assert any(isinstance(action, Delete) for action in plan_for(ending).actions)


# Upgraded.

OTHER_IMAGE = spec(image="analytics:2")


def test_upgrade_waits_for_runs_and_is_in_status_while_the_cluster_stays_ready() -> None:
    seen = dataclasses.replace(serving(OTHER_IMAGE, spec(), driver=idle()), users=(USER,))
    status = status_after(seen)

    assert status["phase"] == "Ready"
    assert (condition(status, c.UP_TO_DATE)["status"], status["reason"]) == ("False", c.UPGRADE_PENDING)
    assert "1 run on the cluster" in status["message"]
    assert condition(status, c.READY)["status"] == "True"


@pytest.mark.parametrize("signs", [None, idle(0), idle(confirmed=0.0), idle(silent_for=100.0)])
def test_upgrade_waits_when_the_keeper_does_not_report_idleness(signs: DriverHeartbeat | None) -> None:
    status = status_after(serving(OTHER_IMAGE, spec(), driver=signs))

    assert (status["phase"], status["reason"]) == ("Ready", c.UPGRADE_PENDING)


@pytest.mark.parametrize("mode", ["WhenIdle", "Now"])
def test_cluster_is_replaced_according_to_its_mode(mode: str) -> None:
    body = {**OTHER_IMAGE, "upgrade": mode}
    seen = serving(body, spec(), driver=idle(), users=(USER,) if mode == "Now" else ())
    status = status_after(seen)

    assert (status["phase"], status["reason"]) == ("Upgrading", c.UPGRADING)
    deleting = plan_for(with_status(seen, status))
    assert [action.resource for action in deleting.actions if isinstance(action, Delete)] == [LEASE]
    begun = status_after(bare(body, status, verified_gone=True))
    assert (begun["phase"], begun["restarts"]) == ("Starting", 0)


def test_cluster_that_was_never_ready_is_replaced_immediately() -> None:
    starting = {**STARTING, "startTime": ago(100)}
    seen = serving(OTHER_IMAGE, spec(image="wrong"), status=starting, users=(USER,), pods=[])

    assert status_after(seen)["phase"] == "Upgrading"


def test_cluster_stays_when_none_can_be_built_from_the_new_spec() -> None:
    body = spec(upgrade="Now", workers={"minimum": 1, "template": {"spec": {"hostNetwork": True}}})
    status = status_after(serving(body, spec(), driver=idle()))

    assert status["phase"] == "Ready"
    assert condition(status, c.UP_TO_DATE)["reason"] == c.TEMPLATE_NOT_ALLOWED
    assert "spec.workers.template" in condition(status, c.UP_TO_DATE)["message"]


@BOTH
@pytest.mark.parametrize("changed", [{"workers": {"minimum": 0, "maximum": 9}}, {"idleShutdownSeconds": 99}])
def test_bounds_and_idle_time_replace_nothing(kind: str, changed: Body) -> None:
    status = status_after(serving(spec(kind, **changed), spec(kind), driver=idle(5)))

    assert condition(status, c.UP_TO_DATE)["status"] == "True"


@BOTH
def test_group_that_was_added_waits_for_the_upgrade(kind: str) -> None:
    seen = dataclasses.replace(serving(spec(kind, **GROUPS), spec(kind)), users=(USER,))
    plan = plan_for(seen)

    assert plan.status is not None
    assert condition(plan.status, c.UP_TO_DATE)["status"] == "False"
    assert created(plan) == []


def test_keeper_is_created_again_while_an_upgrade_waits() -> None:
    seen = serving(OTHER_IMAGE, spec(), keeper=None, users=(USER,))

    assert created(plan_for(seen)) == ["Deployment"]


def test_grant_of_a_namespace_changes_the_network_policy_live() -> None:
    body = spec(allowedNamespaces=["team"])
    seen = serving(body)
    old = serving().base.network_policies
    plan = plan_for(dataclasses.replace(seen, base=dataclasses.replace(seen.base, network_policies=old)))
    (amend,) = [action for action in plan.actions if isinstance(action, PatchObject)]

    assert amend.resource is NETWORK_POLICY
    assert "team" in str(amend.patch)


@pytest.mark.parametrize(
    ("namespace", "is_allowed"), [("platform", True), ("team", True), ("other", False), ("", False)]
)
def test_runs_of_other_namespaces_need_the_grant(namespace: str, is_allowed: bool) -> None:
    assert allows(shared(spec(allowedNamespaces=["team"])), namespace) is is_allowed

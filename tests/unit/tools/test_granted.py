"""The comparison of granted and used rights."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tools.granted import UNUSED_BY_USERS, USERS, Right, Used, driver_rights, granted, report, used

OPERATOR = re.compile("system:serviceaccount:system:flowcluster")
PODS_LIST, PODS_DELETE = Right("", "pods", "list"), Right("", "pods", "delete")


def event(right: Right, user: str = "system:serviceaccount:system:flowcluster", **more: Any) -> dict[str, Any]:
    resource, _, subresource = right.resource.partition("/")
    where = {"apiGroup": right.group, "resource": resource, "subresource": subresource, "namespace": "team"}
    where = {name: value for name, value in where.items() if value}
    decision = {"authorization.k8s.io/decision": more.pop("decision", "allow")}
    return {
        "stage": "ResponseComplete", "verb": right.verb, "user": {"username": user}, "objectRef": where,
        "annotations": decision, **more,
    }  # fmt: skip


def test_rights_are_the_products_of_a_rule() -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "verbs": ["get"]}
    urls = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}

    assert granted([{"rules": [rule]}, {"rules": [urls]}]) == {
        Right("", "pods", "get"), Right("", "pods/log", "get"), Right("apps", "pods", "get"),
        Right("apps", "pods/log", "get"),
    }  # fmt: skip


def test_only_requests_of_the_user_count() -> None:
    status = Right("flowcluster.dev", "flowruns/status", "update")
    events = [
        event(PODS_LIST),
        event(status),
        event(PODS_DELETE, user="system:serviceaccount:system:flowcluster-two"),
        event(PODS_DELETE, stage="RequestReceived"),
        {"stage": "ResponseComplete", "verb": "get", "user": {}},
        {"stage": "ResponseComplete", "verb": "get", "user": {}, "objectRef": {"resource": "pods"}},
        {"stage": "ResponseComplete", "verb": "get", "user": {"username": "system:serviceaccount:system:flowcluster"}},
    ]

    assert used(events, OPERATOR) == Used({PODS_LIST, status}, set())


def test_forbidden_request_does_not_use_a_right() -> None:
    assert used([event(PODS_DELETE, decision="forbid")], OPERATOR) == Used(set(), {PODS_DELETE})


def test_report_has_what_was_not_used_and_what_was_forbidden() -> None:
    needs = Used({PODS_LIST}, {Right("apps", "deployments", "list")})

    assert report("operator", {PODS_LIST, PODS_DELETE}, needs) == [
        "operator: granted and never used: delete pods",
        "operator: forbidden: list deployments.apps",
    ]
    assert report("operator", {PODS_LIST, PODS_DELETE}, Used({PODS_LIST}, set()), [PODS_DELETE]) == []


def test_rights_of_a_driver_are_read_from_its_role() -> None:
    assert driver_rights() == {
        Right("flowcluster.dev", "flowruns", "get"),
        Right("coordination.k8s.io", "leases", "get"),
        Right("coordination.k8s.io", "leases", "patch"),
    }


@pytest.mark.parametrize(
    ("user", "is_user"),
    [
        ("kubernetes-admin", True),
        ("system:serviceaccount:team-1:engineer", True),
        ("system:serviceaccount:system:flowcluster", False),
        ("system:serviceaccount:team-1:run-0123456789-driver", False),
        ("system:serviceaccount:kube-system:generic-garbage-collector", False),
        ("system:apiserver", False),
    ],
)
def test_requests_of_operators_drivers_and_controllers_are_not_those_of_users(user: str, is_user: bool) -> None:
    delete = Right("flowcluster.dev", "flowruns", "delete")
    needs = used([event(delete, user=user)], USERS)

    assert report("users", {delete}, needs, UNUSED_BY_USERS) == (
        [] if is_user else ["users: granted and never used: delete flowruns.flowcluster.dev"]
    )

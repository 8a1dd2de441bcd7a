"""The right of a user whose program drives a run to keep the Lease of that run."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.clusters.manifest import with_lease_user
from flowcluster_api import names
from flowcluster_api.lease import ANNOTATION_USER
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import ROLE, ROLE_BINDING
from tests.support.makers import KEY, KEYS, access, cluster, lease, observed, run, spec, stored
from tests.support.plans import kinds, plan_for, started

LEASE = names.child_name(KEY.name, KEY.uid)
USER = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice@team"}


def beginning(body: dict[str, Any], annotations: dict[str, str], **more: Any) -> Observed:
    made = with_lease_user(annotations.get(ANNOTATION_USER), run(body, started()))
    return observed(run=made, lease=lease(), credentials=KEYS, **more)


def created(seen: Observed, kind: Any) -> dict[str, Any]:
    (body,) = (item.body for item in plan_for(seen).actions if isinstance(item, Create) and item.resource is kind)
    return body


def test_user_of_a_run_without_a_flow_may_keep_its_lease_and_read_the_run() -> None:
    body, annotations = spec(flow=False), {ANNOTATION_USER: "alice@team"}
    role = created(beginning(body, annotations), ROLE)
    binding = created(beginning(body, annotations, cluster=cluster(), access=(stored(role),)), ROLE_BINDING)

    granted = {(rule["resources"][0], *rule["resourceNames"], verb) for rule in role["rules"] for verb in rule["verbs"]}
    assert granted == {("leases", LEASE, "get"), ("leases", LEASE, "patch"), (names.PLURAL, KEY.name, "get")}
    assert (binding["subjects"], binding["roleRef"]["name"]) == ([USER], role["metadata"]["name"])


@pytest.mark.parametrize("annotations", [{}, {ANNOTATION_USER: ""}, {ANNOTATION_USER: "a" * 1025}])
def test_run_that_names_no_usable_user_grants_nothing(annotations: dict[str, str]) -> None:
    assert kinds(plan_for(beginning(spec(flow=False), annotations))) == ["DaskCluster"]


def test_run_with_a_flow_grants_nothing_to_a_user() -> None:
    """Its driver has an account, and may request child runs in the Lease."""
    role, _, account = access()
    seen = beginning(spec(), {ANNOTATION_USER: "alice@team"}, access=(role, account))

    (subject,) = created(seen, ROLE_BINDING)["subjects"]
    assert subject["kind"] == "ServiceAccount"


def test_manifest_without_a_user_stays_as_it_is() -> None:
    assert with_lease_user(None, run()) == run()

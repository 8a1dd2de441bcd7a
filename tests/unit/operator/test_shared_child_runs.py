"""Child runs of a run on a shared cluster: they have no more of it than their parent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import child_runs
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.plan import Create
from flowcluster_operator.policies.child_runs import requested
from tests.support.child_requests import asking, refusal_in
from tests.support.makers import SETTINGS, spec


def sharing(**ref: Any) -> dict[str, Any]:
    """The spec of a run on a SharedCluster whose reference has those fields, too."""
    return {"cluster": {"ref": {"name": "analytics"} | ref}}


OWN_SHARE, SMALL_SHARE, LARGE_SHARE = ({"share": {"threads": number}} for number in (4, 2, 5))


@pytest.mark.parametrize(
    ("parents", "wish", "given_ref"),
    [
        ({}, {}, {}),
        ({"priority": 5} | OWN_SHARE, {}, {"priority": 5} | OWN_SHARE),
        ({"priority": 5} | OWN_SHARE, {"priority": 1} | SMALL_SHARE, {"priority": 1} | SMALL_SHARE),
        ({"priority": -5}, {}, {"priority": -5}),
        ({"namespace": "data"}, {"namespace": "data"}, {"namespace": "data"}),
        ({}, OWN_SHARE, OWN_SHARE),
    ],
)
def test_child_run_on_the_shared_cluster_of_its_parent_has_no_more_of_it(
    parents: dict[str, Any], wish: dict[str, Any], given_ref: dict[str, Any]
) -> None:
    seen = asking(child_runs.create("part", sharing(**wish)))
    parent = FlowRunSpec.model_validate({**spec(), **sharing(**parents)})
    (action,) = requested(dataclasses.replace(seen, spec=parent), SETTINGS)

    assert isinstance(action, Create)
    assert action.body["spec"]["cluster"] == sharing(**given_ref)["cluster"]


@pytest.mark.parametrize(
    ("parents", "wish", "words"),
    [
        (None, {}, "a cluster that the parent does not use"),
        ({}, {"name": "other"}, "a cluster that the parent does not use"),
        ({}, {"namespace": "data"}, "a cluster that the parent does not use"),
        ({}, {"priority": 1}, "spec.cluster.ref.priority"),
        ({"priority": -5}, {"priority": 0}, "spec.cluster.ref.priority"),
        (OWN_SHARE, LARGE_SHARE, "spec.cluster.ref.share"),
    ],
)
def test_child_run_that_wants_more_of_a_shared_cluster_is_refused(
    parents: dict[str, Any] | None, wish: dict[str, Any], words: str
) -> None:
    seen = asking(child_runs.create("part", sharing(**wish)))
    parent = FlowRunSpec.model_validate(spec() if parents is None else {**spec(), **sharing(**parents)})

    assert words in refusal_in(dataclasses.replace(seen, spec=parent))

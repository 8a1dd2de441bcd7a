"""Child runs: what a driver can request, and what a FlowRun that names a parent can be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import child_runs, names
from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.metadata import owner_reference
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, PatchObject
from flowcluster_operator.model.references import Parent
from flowcluster_operator.policies.child_runs import requested
from flowcluster_operator.policies.parent_bounds import beyond
from flowcluster_operator.resources import FLOW_RUN, LEASE
from flowcluster_operator.settings import Settings
from tests.support.child_requests import PART, answered, asking, refusal_in
from tests.support.makers import KEY, SETTINGS, ago, observed, run, spec
from tests.support.plans import plan_for, settled

SECRET_ENV = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def with_flow(**fields: Any) -> dict[str, Any]:
    """A spec whose flow has those fields, too."""
    body = spec()
    return {**body, "flow": body["flow"] | fields}


def worker(**fields: Any) -> dict[str, Any]:
    """A template of workers with that in their container."""
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


def part(**workers: Any) -> dict[str, Any]:
    """The spec of a child run whose workers have those fields."""
    body = copy.deepcopy(PART)
    body["cluster"]["workers"] |= workers
    return body


def child(name: str = "part", body: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    made = run(body or PART, ownerReferences=[owner_reference(KEY)], **metadata)
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": f"uid-{name}"}}


def test_child_run_inherits_labels_of_its_run() -> None:
    """Policies that ask for them look at the objects of the child run as well."""
    seen = asking(child_runs.create("part", PART))
    assert seen.run is not None
    seen.run["metadata"]["labels"] = {"team": "data", "kueue.x-k8s.io/queue-name": "q"}
    (made,) = (action.body for action in plan_for(seen).actions if isinstance(action, Create))

    assert made["metadata"]["labels"] == {"team": "data"}
    assert made["spec"] == PART


def test_requested_child_run_is_created_with_its_parent_as_controller() -> None:
    (action,) = requested(asking(child_runs.create("part", PART)), SETTINGS)

    assert isinstance(action, Create)
    assert action.resource is FLOW_RUN
    assert action.body["metadata"]["ownerReferences"] == [owner_reference(KEY)]
    assert (action.body["metadata"]["name"], action.body["metadata"]["namespace"]) == ("part", KEY.namespace)
    assert action.body["spec"]["cluster"] == PART["cluster"]


def test_request_is_removed_once_its_child_run_exists() -> None:
    seen = asking(child_runs.create("part", PART), child_runs=(child(),))
    (action,) = requested(seen, SETTINGS)

    assert isinstance(action, PatchObject)
    assert seen.lease is not None
    assert child_runs.read(answered(seen.lease, action)) == {}


def test_next_pass_is_due_immediately_after_a_request() -> None:
    plan = plan_for(asking(child_runs.create("part", PART)))

    assert [type(action) for action in plan.actions] == [Create]
    assert plan.requeue == 0


def test_refused_request_stands_until_the_driver_removes_it() -> None:
    refused = {"metadata": {"annotations": {child_runs.PREFIX + "part": '{"refused": "no"}'}}}

    assert requested(asking(refused), SETTINGS) == ()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (spec(), "spec.flow"),
        (part(minimum=3), "more than 2"),
        ({"cluster": PART["cluster"] | {"image": "evil:1"}}, "spec.cluster.image evil:1"),
        ({"cluster": {"kind": "Dask", "ref": {"name": "other"}}}, "spec.cluster.ref"),
        (part(template={"spec": {"serviceAccountName": "admin"}}), "spec.cluster.workers.template"),
        (part(template=worker(env=[SECRET_ENV])), "spec.cluster.workers.template"),
        (part(template=worker(envFrom=[{"secretRef": {"name": "s"}}])), "spec.cluster.workers.template"),
        (part(template={"metadata": {"annotations": {"inject": "yes"}}}), "spec.cluster.workers.template"),
        (part(template={"spec": {"volumes": [{"name": "a", "secret": {"secretName": "s"}}]}}), "workers.template"),
        ({"cluster": PART["cluster"] | {"scheduler": {"template": worker(image="evil:1")}}}, "scheduler.template"),
        ({"cluster": "x"}, "invalid spec"),
    ],
)
def test_request_beyond_the_parent_is_refused_with_its_field(wish: dict[str, Any], words: str) -> None:
    assert words in refusal_in(asking(child_runs.create("part", wish)))


def test_request_with_a_name_that_a_flow_run_cannot_have_is_refused() -> None:
    assert "name" in refusal_in(asking(child_runs.create("Not_A_Label", PART)))


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"spec": 1}', '{"bounds": [1]}', '{"bounds": [true, 2]}', "{" * 99]
)
def test_request_that_cannot_be_read_is_refused(text: str) -> None:
    patch = {"metadata": {"annotations": {child_runs.PREFIX + "part": text}}}

    assert "cannot be read" in refusal_in(asking(patch))


def test_request_that_the_api_server_refuses_is_refused_with_its_words() -> None:
    rejection = Rejection("FlowRun", "part", 409, "a FlowRun of this name exists, and the run does not own it")
    seen = asking(child_runs.create("part", PART), rejections=(rejection,))

    assert "exists" in refusal_in(seen)
    assert settled(seen)["reason"] != c.REJECTED


def test_number_of_child_runs_is_limited() -> None:
    limited = Settings(child_runs=2)
    requests = [child_runs.create(f"part-{number}", PART) for number in range(3)]
    actions = requested(asking(*requests, child_runs=(child("first"),)), limited)

    assert [type(action) for action in actions] == [Create, PatchObject, PatchObject]
    finished = child("first")
    finished["status"] = {"conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded"}]}
    actions = requested(asking(*requests, child_runs=(finished,)), limited)
    assert [type(action) for action in actions] == [Create, Create, PatchObject]


def test_upper_bound_of_workers_is_lowered_to_that_of_the_parent() -> None:
    for body, most in ((spec(workers=5), 5), (spec(workers=None), SETTINGS.child_max_workers)):
        (action,) = requested(asking(child_runs.create("part", part(maximum=10_000)), body=body), SETTINGS)

        assert isinstance(action, Create)
        assert action.body["spec"]["cluster"]["workers"]["maximum"] == most


def test_child_run_without_resources_gets_those_of_its_parent() -> None:
    resources = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    body = spec(cluster={"kind": "Dask", "workers": {"minimum": 1, "resources": resources}})
    (action,) = requested(asking(child_runs.create("part", PART), body=body), SETTINGS)

    assert isinstance(action, Create)
    assert action.body["spec"]["cluster"]["workers"]["resources"] == resources


@pytest.mark.parametrize(
    ("resources", "is_within"),
    [
        ({"limits": {"memory": "1024Mi"}, "requests": {"cpu": "0.5"}}, True),
        ({"limits": {"memory": "1025Mi"}}, False),
        ({"limits": {"memory": "1Gi"}, "requests": {"cpu": "501m"}}, False),
        ({"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}, False),
        ({"requests": {"cpu": "100m"}}, False),
    ],
)
def test_resources_stay_within_those_of_the_parent(resources: dict[str, Any], is_within: bool) -> None:
    theirs = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    above = FlowRunSpec.model_validate(spec(cluster={"kind": "Dask", "workers": {"minimum": 1, "resources": theirs}}))
    problem = beyond(FlowRunSpec.model_validate(part(resources=resources)), above, SETTINGS)

    assert (problem is None) is is_within, problem


def test_template_of_the_parent_and_plain_variables_are_within() -> None:
    template = worker(env=[SECRET_ENV]) | {"metadata": {"labels": {"a": "b"}}}
    above = FlowRunSpec.model_validate(with_flow(template=template))
    own = copy.deepcopy(template)
    own["spec"]["containers"][0]["env"].append({"name": "B", "value": "c"})
    for body in (part(template=own), part(template=worker(env=[{"name": "B", "value": "c"}])), part(template={})):
        assert beyond(FlowRunSpec.model_validate(body), above, SETTINGS) is None


def test_bounds_of_a_child_run_follow_a_request_and_stay_within_the_parent() -> None:
    seen = asking(child_runs.resize("part", 0, 10_000), child_runs=(child(),))
    (action,) = requested(seen, SETTINGS)

    assert isinstance(action, PatchObject)
    assert (action.resource, action.name, action.uid) == (FLOW_RUN, "part", "uid-part")
    assert action.patch == {"spec": {"cluster": {"workers": {"minimum": 0, "maximum": 2}}}}
    resized = child(body=part(minimum=0, maximum=2))
    (action,) = requested(asking(child_runs.resize("part", 0, 10_000), child_runs=(resized,)), SETTINGS)
    assert isinstance(action, PatchObject)
    assert action.resource is LEASE


@pytest.mark.parametrize(("bounds", "words"), [((3, 3), "more than 2"), ((2, 1), "greater than")])
def test_bounds_beyond_the_parent_are_refused(bounds: tuple[int, int], words: str) -> None:
    assert words in refusal_in(asking(child_runs.resize("part", *bounds), child_runs=(child(),)))


def test_child_run_is_cancelled_by_a_request() -> None:
    (action,) = requested(asking(child_runs.cancel("part"), child_runs=(child(),)), SETTINGS)
    assert isinstance(action, PatchObject)
    assert (action.resource, action.patch) == (FLOW_RUN, {"spec": {"cancel": True}})

    for children in ((), (child(body={**PART, "cancel": True}),)):
        (action,) = requested(asking(child_runs.cancel("part"), child_runs=children), SETTINGS)
        assert isinstance(action, PatchObject)
        assert action.resource is LEASE


@given(
    st.dictionaries(st.text("ab-", min_size=1, max_size=4), st.text(max_size=40) | st.sampled_from(['{"cancel":true}']))
)
def test_no_annotation_stops_a_pass(requests: dict[str, str]) -> None:
    """Whatever a driver writes, each request is answered by one step."""
    annotations = {child_runs.PREFIX + name: text for name, text in requests.items()}
    plan = plan_for(asking({"metadata": {"annotations": annotations}}))

    assert len(plan.actions) == len(requests)


def test_driver_can_neither_create_nor_change_a_flow_run() -> None:
    above = Parent("whole", "whole-driver", None, is_over=False)
    for body, parent in ((spec(), None), (PART, above)):
        (role,) = (
            item.body
            for item in driver_access(KEY, FlowRunSpec.model_validate(body), parent)
            if item.resource.kind == "Role"
        )
        granted = {(rule["resources"][0], verb) for rule in role["rules"] for verb in rule["verbs"]}
        assert granted == {("leases", "get"), ("leases", "patch"), (names.PLURAL, "get")}
        assert all(rule["resourceNames"] for rule in role["rules"])


PARENT = Parent("whole", "whole-driver", "keys", False, "uid-whole", FlowRunSpec.model_validate(spec()))
OWNER = {**names.reference("whole", "uid-whole"), "controller": True}


#: The status of a run before anything of it exists.
BEGUN = {"phase": "Starting", "startTime": ago(1)}


def beginning(body: dict[str, Any], owner: dict[str, Any], parent: Parent | None) -> Observed:
    """A FlowRun that names an owner, before anything of it exists."""
    return observed(run=run(body, BEGUN, ownerReferences=[owner]), parent=parent)


def test_child_run_within_its_parent_starts() -> None:
    assert plan_for(beginning(PART, OWNER, PARENT)).actions


@pytest.mark.parametrize(
    ("body", "owner", "parent", "words"),
    [
        (PART, OWNER, None, "does not exist"),
        (PART, {**OWNER, "controller": False}, PARENT, "not its controller"),
        (PART, OWNER, PARENT._replace(spec=None), "cannot be used"),
        (part(template={"spec": {"volumes": []}}), OWNER, PARENT, "spec.cluster.workers.template"),
        (part(maximum=3), OWNER, PARENT, "more than 2"),
        (with_flow(image="evil:1"), OWNER, PARENT, "spec.flow.image"),
    ],
)
def test_flow_run_that_names_an_owner_and_is_not_a_child_run_is_refused(
    body: dict[str, Any], owner: dict[str, Any], parent: Parent | None, words: str
) -> None:
    plan = plan_for(beginning(body, owner, parent))

    assert plan.actions == ()
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Stopping", c.CHILD_RUN_NOT_ALLOWED)
    assert words in plan.status["message"]

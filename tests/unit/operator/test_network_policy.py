"""Which pods reach the pods of a run: the union of all network policies that select a pod."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.ray import RayBackend
from flowcluster_operator.desired.metadata import child_metadata, controlled_by, lease_reference, owner_reference
from flowcluster_operator.desired.network_policy import network_policies, shared_network_policy
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.references import Parent
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.resources import FLOW_RUN, NETWORK_POLICY, Object
from flowcluster_operator.settings import Settings, SettingsError
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, NOW, SETTINGS, observed, of_lease, run, spec
from tests.support.passes import Passes
from tests.support.plans import RIGHTS
from tests.support.plans import started as started_status

FENCED = dataclasses.replace(SETTINGS, network_policies=True)
OWN, PARENT, HOST, STRANGER = (
    KEY,
    RunId("team", "whole", "uid-whole"),
    RunId("team", "host", "uid-host"),
    RunId("a", "b", "c"),
)


def labels(key: RunId, component: str) -> dict[str, str]:
    return names.child_labels(key.name, key.uid, component)


def selects(selector: Object, of_pod: dict[str, str]) -> bool:
    """Whether a label selector selects a pod, as Kubernetes defines it."""
    exact = selector.get("matchLabels", {}).items() <= of_pod.items()
    return exact and all(of_pod.get(item["key"]) in item["values"] for item in selector.get("matchExpressions", []))


def reaches(policies: list[Object], source: dict[str, str], target: dict[str, str]) -> bool:
    """Whether a pod reaches another one of its namespace."""
    on_target = [policy["spec"] for policy in policies if selects(policy["spec"]["podSelector"], target)]
    peers = [peer for policy in on_target for rule in policy["ingress"] for peer in rule["from"]]
    return not on_target or any(selects(peer["podSelector"], source) for peer in peers)


def bodies(*groups: list[Create]) -> list[Object]:
    return [create.body for group in groups for create in group]


def test_only_pods_of_a_run_reach_its_pods() -> None:
    policies = bodies(network_policies(OWN))
    for component in ("driver", "scheduler", "head", "worker"):
        assert reaches(policies, labels(OWN, "worker"), labels(OWN, component))
        assert not reaches(policies, labels(PARENT, "driver"), labels(OWN, component))
        assert not reaches(policies, {"app": "web"}, labels(OWN, component))
        assert reaches(policies, labels(OWN, "worker"), labels(PARENT, component))
    assert reaches(policies, labels(OWN, "worker"), {"app": "web"})


def test_parent_and_child_run_reach_each_other_where_they_must() -> None:
    policies = bodies(network_policies(PARENT), network_policies(OWN, parent=PARENT.uid))

    assert reaches(policies, labels(PARENT, "driver"), labels(OWN, "scheduler"))
    assert reaches(policies, labels(OWN, "worker"), labels(PARENT, "driver"))
    assert not reaches(policies, labels(OWN, "worker"), labels(PARENT, "scheduler"))
    assert not reaches(policies, labels(STRANGER, "driver"), labels(PARENT, "driver"))
    assert not reaches(policies, labels(STRANGER, "driver"), labels(OWN, "scheduler"))


def test_run_on_the_cluster_of_another_one_reaches_that_cluster() -> None:
    policies = bodies(network_policies(HOST), network_policies(OWN, host=HOST.uid))

    assert reaches(policies, labels(OWN, "driver"), labels(HOST, "head"))
    assert reaches(policies, labels(HOST, "worker"), labels(OWN, "driver"))
    assert not reaches(policies, labels(OWN, "driver"), labels(HOST, "driver"))
    assert not reaches(policies, labels(STRANGER, "driver"), labels(HOST, "head"))


@pytest.mark.parametrize("namespace", ["team", "platform"])
def test_run_on_a_shared_cluster_reaches_it_and_is_reached_by_it(namespace: str) -> None:
    """The namespace of a peer is part of the policy, so only pods of the same namespace are compared here."""
    cluster = RunId(namespace, "analytics", "uid-analytics", names.SHARED_KIND)
    (policy,) = bodies(network_policies(OWN, shared=cluster))
    of_cluster = shared_network_policy(cluster, [OWN.namespace])
    user = {**labels(OWN, "driver"), names.LABEL_USES: cluster.uid}
    own, peer = policy["spec"]["ingress"][0]["from"]

    assert selects(own["podSelector"], labels(OWN, "worker"))
    assert selects(peer["podSelector"], labels(cluster, "worker"))
    assert not selects(peer["podSelector"], labels(STRANGER, "worker"))
    in_namespace = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    assert peer.get("namespaceSelector") == (None if namespace == OWN.namespace else in_namespace)
    assert reaches([of_cluster], user, labels(cluster, "scheduler"))
    assert not reaches([of_cluster], labels(STRANGER, "driver"), labels(cluster, "scheduler"))


def test_ray_cluster_of_no_run_reaches_the_driver_that_is_a_node_of_it() -> None:
    policies = bodies(network_policies(OWN, members=RayBackend().members("shared")))
    node = {"ray.io/cluster": "shared", "ray.io/node-type": "worker"}

    assert reaches(policies, node, labels(OWN, "driver"))
    assert not reaches(policies, {**node, "ray.io/cluster": "other"}, labels(OWN, "driver"))
    assert reaches(policies, labels(STRANGER, "driver"), node)


@pytest.mark.parametrize("others", [{"parent": PARENT.uid}, {"host": HOST.uid}])
def test_policy_for_the_pods_of_another_run_never_closes_them_to_that_run(others: dict[str, Any]) -> None:
    """The other run may have no policy of its own: the chart's value was off when it started."""
    policies = bodies(network_policies(OWN, **others))
    other = PARENT if "parent" in others else HOST

    for component in ("driver", "scheduler", "worker"):
        assert reaches(policies, labels(other, "worker"), labels(other, component))


def test_policies_have_names_of_their_own() -> None:
    policies = bodies(network_policies(OWN, PARENT.uid, HOST.uid))

    assert len({policy["metadata"]["name"] for policy in policies}) == len(policies) == 3
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress"]


def created(body: dict[str, Any], settings: Settings, **more: Any) -> list[str]:
    seen = observed(body, status=started_status(), **{**RIGHTS, **more})
    actions = decide(seen, settings, NOW).actions
    return [action.body["metadata"]["name"] for action in actions if action.resource is NETWORK_POLICY]  # type: ignore[union-attr]


def kinds_created(settings: Settings, **more: Any) -> list[str]:
    seen = observed(spec(), status=started_status(), **{**RIGHTS, **more})
    return [action.resource.kind for action in decide(seen, settings, NOW).actions if isinstance(action, Create)]


def test_policies_are_created_before_the_pods_unless_the_chart_leaves_them_out() -> None:
    policy = of_lease(bodies(network_policies(KEY))[0])

    assert created(spec(), FENCED) == [names.child_name(KEY.name, KEY.uid)]
    assert kinds_created(FENCED) == ["NetworkPolicy"]
    assert kinds_created(FENCED, network_policies=(policy,)) == kinds_created(SETTINGS) == ["DaskCluster", "Job"]
    assert Settings().network_policies


@pytest.mark.parametrize(
    ("kind", "admitted"), [("Dask", []), ("Ray", [{"podSelector": {"matchLabels": {"ray.io/cluster": "shared"}}}])]
)
def test_policy_admits_a_referenced_cluster_of_no_run_where_it_connects_to_drivers(
    kind: str, admitted: list[Object]
) -> None:
    foreign = {"metadata": {"name": "shared", "namespace": KEY.namespace}, "spec": {"worker": {"spec": {}}}}
    guest = spec(cluster={"kind": kind, "ref": {"name": "shared"}})
    seen = observed(guest, status=started_status(), **RIGHTS, referenced=foreign)
    (policy,) = decide(seen, FENCED, NOW).actions
    assert isinstance(policy, Create)
    own, *others = policy.body["spec"]["ingress"][0]["from"]

    assert selects(own["podSelector"], labels(KEY, "driver"))
    assert others == admitted


def test_policies_that_exist_are_not_created_again() -> None:
    (policy,) = bodies(network_policies(KEY))

    assert created(spec(), FENCED, network_policies=(policy,)) == []


def test_child_run_and_guest_create_the_policies_that_open_the_other_run() -> None:
    name = names.child_name(KEY.name, KEY.uid)
    above = Parent("whole", "whole-driver", "keys", False, PARENT.uid, FlowRunSpec.model_validate(spec()))
    owner = {**names.reference(above.name, above.uid), "controller": True}
    child = observed(run(spec(flow=False), started_status(), ownerReferences=[owner])["spec"])
    child = dataclasses.replace(
        child, run=run(spec(flow=False), started_status(), ownerReferences=[owner]), parent=above
    )
    child = dataclasses.replace(child, **RIGHTS)
    made = [item.body["metadata"]["name"] for item in decide(child, FENCED, NOW).actions if isinstance(item, Create)]
    assert {name, f"{name}-parent"} <= set(made)

    guest = spec(cluster={"kind": "Dask", "ref": {"name": "shared"}})
    shared = {"metadata": child_metadata(HOST, "cluster"), "spec": {"worker": {"spec": {}}}}
    of_lease = lease_reference({"metadata": {"name": names.child_name(HOST.name, HOST.uid), "uid": "uid-Lease"}})
    for owner in (of_lease, owner_reference(HOST)):
        assert created(guest, FENCED, referenced=controlled_by(shared, owner)) == [name, f"{name}-host"]


def test_cluster_of_no_run_is_not_closed_by_a_run_that_uses_it() -> None:
    guest = spec(cluster={"kind": "Dask", "ref": {"name": "shared"}})
    foreign = {"metadata": {"name": "shared", "labels": labels(HOST, "cluster")}, "spec": {"worker": {"spec": {}}}}

    assert created(guest, FENCED, referenced=foreign) == [names.child_name(KEY.name, KEY.uid)]


async def test_policy_is_created_and_adopted(api: FakeApi, kube: Kube) -> None:
    """An operator that did not live to see the answer finds the policy that it made."""
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    for _ in range(2):
        async with Passes(kube, FENCED).running() as passes:
            await passes.resync.once()
            await passes.make()
            (policy,) = api.objects.all(NETWORK_POLICY)
            assert policy["metadata"]["name"] == names.child_name(KEY.name, KEY.uid)
            assert passes.store.children(KEY, NETWORK_POLICY) == [projected(NETWORK_POLICY, policy)]


@pytest.mark.parametrize("text", ["", "yes", "True"])
def test_wrong_setting_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="FLOWCLUSTER_NETWORK_POLICIES"):
        Settings.from_environment({"FLOWCLUSTER_NETWORK_POLICIES": text})
    assert not Settings.from_environment({"FLOWCLUSTER_NETWORK_POLICIES": "false"}).network_policies

"""Every object that the operator creates for a shared cluster, whole: a change of a builder changes a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.keeper_deployment import keeper_access, keeper_deployment
from flowcluster_operator.desired.metadata import controller, owned_by
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.policies.shared.worker_groups import worker_groups
from flowcluster_operator.reconcile.missing_shared_children import cluster_objects
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from tests.support.built import CHANGED, FULL_CLUSTER, RESOURCES, TEMPLATE
from tests.support.golden import Golden
from tests.support.makers import SETTINGS
from tests.support.shared import KEY, SECRET, bare, of_lease, spec
from tests.unit.operator.conftest import COMMAND, FOLDER

GPU: dict[str, Any] = {
    "name": "gpu", "minimum": 0, "maximum": 2, "threads": 2, "taskResources": {"GPU": 1}, "resources": RESOURCES,
    "template": TEMPLATE,
}  # fmt: skip
FULL: dict[str, Any] = {**FULL_CLUSTER, "workerGroups": [GPU, {"name": "large-memory", "minimum": 1, "maximum": 1}]}


def cluster(body: dict[str, Any], settings: Settings = SETTINGS) -> list[Object]:
    """The cluster resource, and worker groups that are objects of their own."""
    seen = bare(body)
    backend = BACKENDS[seen.spec.kind]
    made, groups = cluster_objects(seen, settings, backend, worker_groups(seen, backend, settings), SECRET)
    return [made, *groups]


def keeper(kind: str, address: str) -> list[Object]:
    seen = bare(spec(kind))
    return [keeper_deployment(KEY, seen.base.spec, SETTINGS, SECRET, address)]


OF_LEASE: dict[str, Callable[[], list[Object]]] = {
    "dask-cluster": lambda: cluster(spec()),
    "dask-cluster-full": lambda: cluster({**spec(), **FULL}, CHANGED),
    "ray-cluster": lambda: cluster(spec("Ray")),
    "ray-cluster-full": lambda: cluster({**spec("Ray"), **FULL}, CHANGED),
    "keys": lambda: [credentials_secret(KEY)],
    "keeper-dask": lambda: keeper("Dask", "tls://analytics:8786"),
    "keeper-ray": lambda: keeper("Ray", "analytics:6379"),
    "keeper-access": lambda: [create.body for create in keeper_access(KEY)],
    "network-policy": lambda: [shared_network_policy(KEY, [])],
    "network-policy-granted": lambda: [shared_network_policy(KEY, ["team-b", "team-a"])],
}


def controlled(build: Callable[[], list[Object]]) -> Callable[[], list[Object]]:
    return lambda: [of_lease(body) for body in build()]


BUILT: dict[str, Callable[[], list[Object]]] = {
    "lease": lambda: [desired_lease(KEY)],
    **{name: controlled(build) for name, build in OF_LEASE.items()},
}


@pytest.fixture
def shared_golden(request: pytest.FixtureRequest) -> Golden:
    """The golden objects of shared clusters."""
    return Golden(FOLDER / "shared", request.config.getoption("--update-golden"), COMMAND)


@pytest.mark.parametrize("name", BUILT)
def test_builder_makes_the_golden_object(name: str, shared_golden: Golden) -> None:
    shared_golden.check(name, BUILT[name]())


def test_golden_files_all_belong_to_a_builder(shared_golden: Golden) -> None:
    assert shared_golden.names() == set(BUILT)


@pytest.mark.parametrize("name", BUILT)
def test_objects_carry_the_labels_of_their_cluster(name: str) -> None:
    """The operator watches by them. The label of a run would make them a run's."""
    for built in BUILT[name]():
        labels = built["metadata"]["labels"]

        assert (labels[names.LABEL_SHARED], labels[names.LABEL_RUN_UID]) == (KEY.name, KEY.uid)
        assert names.LABEL_RUN not in labels


@pytest.mark.parametrize("name", BUILT)
def test_objects_are_deleted_with_their_cluster(name: str) -> None:
    for built in BUILT[name]():
        owner = controller(built)
        assert owner is not None
        assert owner["kind"] == ("SharedCluster" if built["kind"] == "Lease" else "Lease")
        assert owned_by(built, KEY) == (built["kind"] == "Lease")


def test_keeper_has_rights_to_its_lease_only() -> None:
    (role,) = [built for built in OF_LEASE["keeper-access"]() if built["kind"] == "Role"]
    (rule,) = role["rules"]

    assert rule["resources"] == ["leases"]
    assert rule["resourceNames"] == [names.child_name(KEY.name, KEY.uid)]
    assert set(rule["verbs"]) == {"get", "patch"}


def test_pods_of_a_group_have_its_label_and_others_have_none() -> None:
    ray = cluster({**spec("Ray"), **FULL})[0]
    dask, gpu, large = cluster({**spec(), **FULL})
    groups = ray["spec"]["workerGroupSpecs"]

    def group_of(template: Object) -> str | None:
        found: str | None = template["metadata"]["labels"].get(names.LABEL_WORKER_GROUP)
        return found

    assert [group_of(group["template"]) for group in groups] == [None, "gpu", "large-memory"]
    assert [group_of(made["spec"]["worker"]) for made in (dask, gpu, large)] == [None, "gpu", "large-memory"]
    assert group_of(ray["spec"]["headGroupSpec"]["template"]) is None


@pytest.mark.parametrize("kind", ["Dask", "Ray"])
def test_credentials_of_the_cluster_are_in_pods_of_all_groups(kind: str) -> None:
    for built in cluster({**spec(kind), **FULL}):
        assert SECRET in str(built)

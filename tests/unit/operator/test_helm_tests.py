"""Pods of `helm test`: helm leaves them where they are, and the operator deletes them with the SharedCluster."""

from __future__ import annotations

import pytest

from flowcluster_api import names
from flowcluster_operator.resources import POD, SHARED_CLUSTER, Object
from tests.support.shared import KEY, spec
from tests.support.shared_world import World


def helm_test(cluster: str) -> Object:
    """The pod of `helm test` for the SharedCluster of a name, as the chart has it."""
    labels = {names.LABEL_SHARED: cluster, names.LABEL_COMPONENT: names.COMPONENT_TEST}
    return {"metadata": {"name": f"{cluster}-test", "labels": labels}, "spec": {}, "status": {"phase": "Succeeded"}}


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_deleted_cluster_leaves_no_pod_of_helm_test(world: World, policy: str) -> None:
    world.create()
    await world.work()
    for cluster in (KEY.name, "other"):
        world.api.objects.create(POD, KEY.namespace, helm_test(cluster))
    await world.passes.make(KEY)
    assert len(pods_of_tests(world)) == 2

    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name, {"propagationPolicy": policy})
    await world.work()
    assert pods_of_tests(world) == ["other-test"]


def pods_of_tests(world: World) -> list[str]:
    """Names of the pods of `helm test`."""
    selector = f"{names.LABEL_COMPONENT}={names.COMPONENT_TEST}"
    return sorted(pod["metadata"]["name"] for pod in world.api.objects.select(POD, KEY.namespace, selector))


async def test_cluster_of_the_same_name_keeps_its_pod_of_helm_test(world: World) -> None:
    world.create()
    await world.work()
    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name, {"propagationPolicy": "Background"})
    body = {"metadata": {"name": KEY.name, "uid": "uid-next"}, "spec": spec()}
    world.api.objects.create(SHARED_CLUSTER, KEY.namespace, body)
    world.api.objects.create(POD, KEY.namespace, helm_test(KEY.name))
    await world.work()

    assert pods_of_tests(world) == [f"{KEY.name}-test"]

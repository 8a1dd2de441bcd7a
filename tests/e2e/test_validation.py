"""The API server refuses invalid manifests, and names the field."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.world import FlowRun, World
from tools.install import Installed

FLOW = {"entrypoint": "a.py:b"}
DASK = {"kind": "Dask"}


def workers(**fields: Any) -> dict[str, Any]:
    return {"flow": FLOW, "cluster": {**DASK, "workers": fields}}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "neither flow nor cluster": ({}, "flow, cluster"),
    "no entrypoint": ({"flow": {}}, "spec.flow.entrypoint"),
    "entrypoint without a function": ({"flow": {"entrypoint": "a.py"}}, "spec.flow.entrypoint"),
    "entrypoint with a blank": ({"flow": {"entrypoint": "a b.py:c"}}, "spec.flow.entrypoint"),
    "image with a blank": ({"flow": {**FLOW, "image": "a b"}}, "spec.flow.image"),
    "parameters are a list": ({"flow": {**FLOW, "parameters": [1]}}, "spec.flow.parameters"),
    "template is a text": ({"flow": {**FLOW, "template": "x"}}, "spec.flow.template"),
    "negative backoffLimit": ({"flow": {**FLOW, "backoffLimit": -1}}, "spec.flow.backoffLimit"),
    "source without a ConfigMap": ({"flow": {**FLOW, "source": {}}}, "spec.flow.source.configMap"),
    "ConfigMap name in capitals": (
        {"flow": {**FLOW, "source": {"configMap": {"name": "CODE"}}}},
        "spec.flow.source.configMap.name",
    ),
    "cluster without a kind": ({"flow": FLOW, "cluster": {}}, "kind must be Dask or Ray, unless ref names"),
    "unknown kind": ({"flow": FLOW, "cluster": {"kind": "Spark"}}, "spec.cluster.kind"),
    "minimum above maximum": (workers(minimum=3, maximum=2), "spec.cluster.workers"),
    "negative minimum": (workers(minimum=-1), "spec.cluster.workers.minimum"),
    "maximum below zero": (workers(maximum=-1), "spec.cluster.workers.maximum"),
    "no threads": (workers(threads=0), "spec.cluster.workers.threads"),
    "threads as text": (workers(threads="two"), "spec.cluster.workers.threads"),
    "an invalid quantity": (
        workers(resources={"requests": {"cpu": "much"}}),
        "spec.cluster.workers.resources.requests.cpu",
    ),
    "a part of a resource on Ray": (
        {"flow": FLOW, "cluster": {"kind": "Ray", "workers": {"taskResources": {"desk": 0.5}}}},
        "whole numbers",
    ),
    "task resources as text": (workers(taskResources={"GPU": "one"}), "spec.cluster.workers.taskResources.GPU"),
    "ref and workers": (
        {"flow": FLOW, "cluster": {**DASK, "ref": {"name": "x"}, "workers": {"minimum": 1}}},
        "spec.cluster",
    ),
    "start deadline of zero": ({"flow": FLOW, "startDeadlineSeconds": 0}, "spec.startDeadlineSeconds"),
    "active deadline of zero": ({"flow": FLOW, "activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds"),
    "idle timeout of zero": ({"flow": FLOW, "idleTimeoutSeconds": 0}, "spec.idleTimeoutSeconds"),
    "lease of a second": ({"flow": FLOW, "leaseDurationSeconds": 1}, "spec.leaseDurationSeconds"),
    "negative ttl": ({"flow": FLOW, "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
    "suspend as text": ({"flow": FLOW, "suspend": "yes"}, "spec.suspend"),
    "operator class in capitals": ({"flow": FLOW, "operatorClass": "Blue"}, "spec.operatorClass"),
    "cancel as number": ({"flow": FLOW, "cancel": 1}, "spec.cancel"),
}


@pytest.fixture(scope="module")
def default(installed: Installed) -> World:
    """The default namespace, where the tests create nothing."""
    return World(installed.kubeconfig, "default")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_field_is_refused_by_name(default: World, case: str) -> None:
    """The API server's answer is 422 and names the field."""
    spec, field = WRONG[case]
    with pytest.raises(ApiException) as refused:
        default.create({**FlowRun().body(), "spec": spec}, dry_run=True)

    assert refused.value.status == 422
    assert field in str(refused.value.body)


def test_name_that_is_too_long_is_refused(default: World) -> None:
    """Names of children and label values are made from the name, so it has 63 characters at most."""
    with pytest.raises(ApiException) as refused:
        default.create(FlowRun(name="x" * 64, flow=FLOW).body(), dry_run=True)

    assert "metadata.name" in str(refused.value.body)


def test_full_spec_is_accepted(default: World) -> None:
    """A manifest that uses every field is valid."""
    template = {"spec": {"nodeSelector": {"a": "b"}}}
    resources = {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    spec = {
        "flow": {
            **FLOW, "image": "x:1", "source": {"configMap": {"name": "code"}}, "parameters": {"a": [1, {"b": None}]},
            "template": template, "backoffLimit": 2,
        },
        "cluster": {
            **DASK, "image": "x:2", "scheduler": {"resources": resources, "template": template},
            "workers": {
                "minimum": 0, "maximum": 9, "threads": 2, "resources": resources, "taskResources": {"GPU": 0.5},
                "template": template,
            },
        },
        "startDeadlineSeconds": 1, "activeDeadlineSeconds": 2, "idleTimeoutSeconds": 3, "leaseDurationSeconds": 10,
        "ttlSecondsAfterFinished": 0, "suspend": True, "cancel": False, "operatorClass": "blue",
    }  # fmt: skip
    created = default.create({**FlowRun().body(), "spec": spec}, dry_run=True)

    assert created["spec"] == spec


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"flow": {"entrypoint": "other.py:flow"}}, "spec.flow"),
        ({"flow": {"parameters": {"x": 2}}}, "spec.flow"),
        ({"cluster": {"kind": "Ray"}}, "spec.cluster.kind"),
        ({"cluster": None}, "spec.cluster"),
        ({"cluster": {"image": "other:1"}}, "spec.cluster.image"),
        ({"operatorClass": "blue"}, "operatorClass"),
    ],
)
def test_fixed_field_cannot_change_once_the_run_is_accepted(world: World, change: dict[str, Any], field: str) -> None:
    """Once the operator has accepted a run, its flow and its cluster's kind and image are fixed."""
    world.create(FlowRun(flow={**FLOW, "parameters": {"x": 1}}, more={"suspend": True}).body())
    world.wait_phase("run", "Suspended")
    with pytest.raises(ApiException) as refused:
        world.patch("run", change)

    assert refused.value.status == 422
    assert field in str(refused.value.body)

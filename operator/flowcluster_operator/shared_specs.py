"""Specs of SharedClusters: how to parse them, view them as that of a run, and name their fields in messages. Pure."""

from __future__ import annotations

from typing import Any

import pydantic

from flowcluster_api.v1alpha1 import Cluster, FlowRunSpec, SharedClusterSpec
from flowcluster_operator.resources import Object
from flowcluster_operator.specs import problem

#: Texts in messages of policies that name fields of a FlowRun, each with that for a SharedCluster. The order counts.
_FIELDS = (
    ("spec.cluster.image, or spec.flow.image", "spec.image"),
    ("spec.cluster.", "spec."),
    ("spec.cluster:", "spec:"),
)


def parse(shared: Object) -> tuple[SharedClusterSpec | None, str | None]:
    """Parse the spec of a SharedCluster.

    Returns:
        The spec, and None. For an invalid spec: None, and one line that names the field.
    """
    raw: Any = shared.get("spec")
    try:
        return SharedClusterSpec.model_validate(raw), None
    except pydantic.ValidationError as error:
        return None, problem(error)


def view(spec: SharedClusterSpec) -> FlowRunSpec:
    """Return a FlowRun's spec for the same cluster: without a flow, and without the further worker groups.

    So the policies of runs work on shared clusters, too.
    """
    cluster = Cluster(kind=spec.kind, image=spec.image, workers=spec.workers, scheduler=spec.scheduler)
    return FlowRunSpec(cluster=cluster, operator_class=spec.operator_class)


def own_fields(text: str) -> str:
    """Return a message of a policy with the fields of a SharedCluster in place of those of a FlowRun."""
    for theirs, ours in _FIELDS:
        text = text.replace(theirs, ours)
    return text

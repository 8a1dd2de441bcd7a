"""Specs of FlowRuns as the API server returns them, parsed. Pure.

The CRD's schema admits specs that the models refuse: it knows no Python patterns, and templates are opaque to it.
"""

from __future__ import annotations

from typing import Any

import pydantic

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.resources import Object

#: What an invalid spec still decides: how the run is stopped and how long its record is kept.
_KEPT = ("cancel", "suspend", "ttlSecondsAfterFinished", "startDeadlineSeconds", "activeDeadlineSeconds")

#: The driver of such a run would need the credentials of the cluster, which are in a Secret of the cluster's namespace.
_NOT_SERVED = (
    "spec.cluster.ref.namespace: a run with a flow can only use a SharedCluster of its own namespace; run the flow "
    "from a client that uses the cluster, or create the FlowRun in the namespace of the cluster"
)


def parse(run: Object) -> tuple[FlowRunSpec, str | None]:
    """Parse the spec of a FlowRun.

    Returns:
        The spec, and None. For an invalid spec: a spec without flow and cluster, and one line that names the field.
    """
    raw: Any = run.get("spec")
    try:
        spec = FlowRunSpec.model_validate(raw)
    except pydantic.ValidationError as error:
        return _remainder(raw), problem(error)
    if spec.flow is not None and not spec.suspend and _is_elsewhere(spec, run["metadata"]["namespace"]):
        return _remainder(raw), _NOT_SERVED
    return spec, None


def _is_elsewhere(spec: FlowRunSpec, namespace: str) -> bool:
    """Whether a run names a SharedCluster of another namespace."""
    if spec.cluster is None or spec.cluster.ref is None or not spec.cluster.uses_shared:
        return False
    return spec.cluster.ref.namespace not in (None, namespace)


def _remainder(raw: Any) -> FlowRunSpec:
    spec = FlowRunSpec()
    for name in _KEPT:
        if not isinstance(raw, dict) or name not in raw:
            continue
        try:
            spec = FlowRunSpec.model_validate({**spec.model_dump(by_alias=True), name: raw[name]})
        except pydantic.ValidationError:
            continue
    return spec


def problem(error: pydantic.ValidationError) -> str:
    """Return one line on the first field that is wrong."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in ("spec", *first["loc"]))
    return f"{field}: {first['msg']}, not {first['input']!r}"[:1000]

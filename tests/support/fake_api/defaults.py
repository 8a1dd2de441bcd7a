"""Defaults of the CRDs' schemas, as the API server fills them in when it stores an object."""

from __future__ import annotations

import copy
import functools
from typing import Any

from flowcluster_api import names
from flowcluster_api.crd import flow_run_crd, shared_cluster_crd


@functools.cache
def _status_schema(kind: str) -> dict[str, Any]:
    (version,) = (flow_run_crd if kind == names.KIND else shared_cluster_crd)()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def stored_status(status: Any, kind: str = names.KIND) -> Any:
    """Return the status of a FlowRun, or of another kind of ours, as the API server stores it."""
    return _defaulted(_status_schema(kind), copy.deepcopy(status))


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_defaulted(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    for name, field in schema.get("properties", {}).items():
        if name not in value and "default" in field:
            value[name] = copy.deepcopy(field["default"])
        if name in value:
            value[name] = _defaulted(field, value[name])
    return value

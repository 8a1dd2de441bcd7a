"""Defaults of the CRD's schema, as the API server fills them in when it stores an object."""

from __future__ import annotations

import copy
import functools
from typing import Any

from flowcluster_api.crd import flow_run_crd


@functools.cache
def _status_schema() -> dict[str, Any]:
    (version,) = flow_run_crd()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def stored_status(status: Any) -> Any:
    """Return the status of a FlowRun as the API server stores it."""
    return _defaulted(_status_schema(), copy.deepcopy(status))


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

"""Parse the specs of FlowRuns that the API server returns. Pure.

The CRD's schema admits specs that the models refuse: it has no Python patterns, and no schema of templates.
"""

from __future__ import annotations

from typing import Any

import pydantic

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.resources import Object

#: Fields that count even in an invalid spec: they stop the run, and set how long its record is kept.
_KEPT = ("cancel", "suspend", "ttlSecondsAfterFinished", "startDeadlineSeconds", "activeDeadlineSeconds")


def parse(run: Object) -> tuple[FlowRunSpec, str | None]:
    """Parse the spec of a FlowRun.

    Returns:
        The spec, and None. For an invalid spec: a spec without flow and cluster, and one line that names the field.
    """
    raw: Any = run.get("spec")
    try:
        return FlowRunSpec.model_validate(raw), None
    except pydantic.ValidationError as error:
        return _remainder(raw), problem(error)


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
    """Return one line on the first field that is invalid."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in ("spec", *first["loc"]))
    return f"{field}: {first['msg']}, not {first['input']!r}"[:1000]

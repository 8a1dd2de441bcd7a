"""Children that the API server refused. A refusal that no retry can change ends the run, and names the spec's field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flowcluster_api import conditions as c
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, JOB, RAY_CLUSTER, Object

#: For each kind of child: the prefix of the fields that come from a template, and the template's field in the spec.
_FIELDS: dict[str, list[tuple[str, str]]] = {
    JOB.kind: [("spec.template.", "spec.flow.template.")],
    DASK_CLUSTER.kind: [
        ("spec.scheduler.", "spec.cluster.scheduler.template."),
        ("spec.worker.", "spec.cluster.workers.template."),
    ],
    RAY_CLUSTER.kind: [
        ("spec.headGroupSpec.template.", "spec.cluster.scheduler.template."),
        ("spec.workerGroupSpecs[0].template.", "spec.cluster.workers.template."),
    ],
}
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')
_PATH = re.compile(r"\bspec\.[\w.\[\]-]*[\w\]]")
_STEP = re.compile(r"([\w-]+)|\[(\d+)\]")
#: Messages of admission policies. They have the same HTTP statuses, but a retry can succeed, since policies can change.
_POLICY = re.compile(r"denied (the )?request|denied by")


def is_refused(observed: Observed) -> bool:
    """Return whether the API server refused a child of the run a moment ago, other than a child run."""
    return any(rejection.kind != FLOW_RUN.kind for rejection in observed.rejections)


def final_refusal(rejections: Sequence[Rejection], creates: Sequence[Create], spec: Object) -> tuple[str, str] | None:
    """Return reason and message of the first refusal that no retry changes; None where there is none.

    Args:
        rejections: what the API server refused.
        creates: the children to create, with those that were refused.
        spec: the spec of the run.
    """
    bodies = {create.resource.kind: create.body for create in creates}
    for rejection in rejections:
        body = bodies.get(rejection.kind)
        is_final = rejection.status in (400, 422) and not _POLICY.search(rejection.message)
        if body is None or not is_final or rejection.kind not in _FIELDS:
            continue
        if unknown := _UNKNOWN.findall(rejection.message):
            named = [name for name in (_of_template(path, rejection.kind, body, spec) for path in unknown) if name]
            if named:
                return c.INVALID_TEMPLATE, f"{rejection.kind} does not know {', '.join(named)}: remove it from the spec"
            continue  # a field from the operator: the installed CRD is older than it, and may be upgraded
        message = _translated(rejection, body)
        fields = (path for path in _PATH.findall(rejection.message) if _of_template(path, rejection.kind, body, spec))
        reason = c.INVALID_TEMPLATE if any(fields) else c.INVALID_SPEC
        return reason, f"{rejection.kind} {rejection.name} was refused: {message}"
    return None


def _translated(rejection: Rejection, body: Object) -> str:
    """Return the API server's message, with fields of the spec in place of the fields of the child."""
    return _PATH.sub(lambda match: _named(match[0], rejection.kind, body), rejection.message)


def _of_template(path: str, kind: str, body: Object, spec: Object) -> str | None:
    """Return the field of the spec that a child's field comes from; None if the user's template does not have it."""
    name = _named(path, kind, body)
    for _, field in _FIELDS[kind]:
        if name.startswith(field):
            template = _value(spec, field.removeprefix("spec.").rstrip("."))
            leaf = re.split(r"[.\[]", path.rstrip("]"))[-1]
            return name if leaf.isdigit() or _has_key(template, leaf) else None
    return None


def _named(path: str, kind: str, body: Object) -> str:
    """Return the field of the spec for a field of a child, with the names of list items in place of their indices."""
    for prefix, field in _FIELDS[kind]:
        if path.startswith(prefix):
            inside: Any = _value(body, prefix.rstrip("."))
            return field + _by_name(path.removeprefix(prefix), inside)
    return path


def _by_name(path: str, value: Any) -> str:
    name_path = ""
    for name, index in _STEP.findall(path):
        value = _step(value, name, index)
        label = value.get("name") if index and isinstance(value, dict) else None
        name_path += f"[{label or index}]" if index else f".{name}"
    return name_path.lstrip(".")


def _value(obj: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        obj = _step(obj, name, index)
    return obj


def _step(value: Any, name: str, index: str) -> Any:
    if index:
        return value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def _has_key(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_has_key(item, key) for item in value.values())
    return isinstance(value, list) and any(_has_key(item, key) for item in value)

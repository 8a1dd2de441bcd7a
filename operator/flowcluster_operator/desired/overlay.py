"""Merge a user's PodTemplateSpec into ours, as `kubectl patch` does with a strategic merge."""

from __future__ import annotations

from typing import Any

from flowcluster_operator.errors import TemplateError

#: For each list field that is merged item by item: the field that identifies an item. Other lists are replaced.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
_POLICY = "terminationMessagePolicy"
_CONTAINERS = ("containers", "initContainers")
#: Lists whose items have no identity: the user's items are appended.
_APPENDED = {"tolerations", "envFrom"}


def merge_template(base: dict[str, Any], over: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a pod template with a user's merged into it. The labels by which the operator finds the pods stay.

    Args:
        base: the operator's template.
        over: the user's template.
        path: the field of the user's template; messages begin with it.

    Raises:
        TemplateError: `over` does not have the shape of a PodTemplateSpec.
    """
    for part in ("metadata", "spec"):
        if not isinstance(over.get(part, {}), dict):
            raise TemplateError(f"{path}.{part} must be an object")
    try:
        merged: dict[str, Any] = strategic_merge(base, over)
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    labels = merged["metadata"].get("labels")
    merged["metadata"]["labels"] = {**(labels if isinstance(labels, dict) else {}), **base["metadata"]["labels"]}
    spec = merged["spec"]
    containers = {field: _objects(spec.get(field), f"{path}.spec.{field}") for field in _CONTAINERS if spec.get(field)}
    if "containers" not in containers:
        raise TemplateError(f"{path}.spec.containers must not be empty")
    reported = {field: [_with_last_lines(item) for item in items] for field, items in containers.items()}
    return {**merged, "spec": {**spec, **reported}}


def _objects(items: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TemplateError(f"{path} must be a list of objects")
    return items


def _with_last_lines(container: dict[str, Any]) -> dict[str, Any]:
    """Return a container for which the kubelet writes the end of the log, with the cause, into status when it fails."""
    return {**container, _POLICY: container.get(_POLICY, "FallbackToLogsOnError")}


def strategic_merge(base: Any, over: Any, field: str = "") -> Any:
    """Return `base` with `over` merged into it: objects merge by field, lists by the key that identifies their items.

    A null in `over` removes the field, as in a merge patch. Neither argument is changed.

    Raises:
        TemplateError: an item of a keyed list is not an object, or has no key.
    """
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {**base}
        for name, value in over.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = strategic_merge(merged[name], value, name) if name in merged else value
        return merged
    if isinstance(base, list) and isinstance(over, list):
        if field in _APPENDED:
            return [*base, *over]
        if key := _MERGE_KEYS.get(field):
            if not all(isinstance(item, dict) and isinstance(item.get(key), str | int) for item in over):
                raise TemplateError(f"each item of {field} must be an object with a {key}")
            return _merge_items(base, over, key)
    return over


def _merge_items(base: list[Any], over: list[Any], key: str) -> list[Any]:
    items = {item[key]: item for item in base}
    for item in over:
        known = items.get(item[key])
        items[item[key]] = item if known is None else strategic_merge(known, item)
    return list(items.values())

"""Lay a person's PodTemplateSpec over ours, as `kubectl patch` does with a strategic merge."""

from __future__ import annotations

from typing import Any

#: What identifies an item of a list, by the list's field. Lists that are not here are replaced.
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
_APPENDED = {"tolerations", "envFrom"}


def overlay(base: Any, over: Any, field: str = "") -> Any:
    """`over` laid over `base`: objects merge by field, lists by the key that identifies their items.

    A null in `over` removes the field, as in a merge patch. Neither argument is changed.
    """
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {**base}
        for name, value in over.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = overlay(merged[name], value, name) if name in merged else value
        return merged
    if isinstance(base, list) and isinstance(over, list):
        if field in _APPENDED:
            return [*base, *over]
        if key := _MERGE_KEYS.get(field):
            return _merge_items(base, over, key)
    return over


def _merge_items(base: list[Any], over: list[Any], key: str) -> list[Any]:
    items = {item.get(key): item for item in base}
    for item in over:
        known = items.get(item.get(key))
        items[item.get(key)] = item if known is None else overlay(known, item)
    return list(items.values())

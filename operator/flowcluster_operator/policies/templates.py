"""Whether a pod template has only what the administrator allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowcluster_operator.template_rules import CONTAINER_LISTS, CONTAINERS, RULES, Rule, TemplatePolicy, message


class _WrongShapeError(Exception):
    """A field of a template does not have the type that a PodTemplateSpec has there."""


def broken_rule(part: str, template: dict[str, Any], policy: TemplatePolicy) -> str | None:
    """Return why the template of that part of the run is not allowed; None if it is.

    A template of the wrong shape breaks every rule that reads its fields.
    """
    for rule in RULES:
        for path in rule.paths if part in rule.parts else ():
            if not passes(rule, path, template, policy):
                return message(part, rule, path)
    return None


def passes(rule: Rule, path: str, template: dict[str, Any], policy: TemplatePolicy) -> bool:
    """Return whether one field complies with a rule. It must agree with the CEL expressions of `tools.admission`."""
    if rule.unless and getattr(policy, rule.unless):
        return True
    allowed = (*rule.values, *(getattr(policy, rule.listed) if rule.listed else ()))
    steps = path.split(".") if path else []
    try:
        if path.startswith(CONTAINERS):
            return all(_walk(container, steps[1:], rule, allowed) for container in _containers(template))
        return _walk(template, steps, rule, allowed)
    except _WrongShapeError:
        return False


def _containers(template: dict[str, Any]) -> list[Any]:
    pod = template.get("spec")
    if pod is None:
        return []
    if not isinstance(pod, dict):
        raise _WrongShapeError
    lists = [pod[name] for name in CONTAINER_LISTS if pod.get(name) is not None]
    if not all(isinstance(each, list) for each in lists):
        raise _WrongShapeError
    return [container for each in lists for container in each]


def _walk(value: Any, steps: list[str], rule: Rule, allowed: tuple[Any, ...]) -> bool:
    if not steps:
        return _holds(value, rule, allowed)
    name = steps[0].removesuffix("[]")
    is_last = len(steps) == 1
    if not isinstance(value, dict):
        raise _WrongShapeError
    if name not in value or (value[name] is None and (rule.null or not is_last)):
        return True
    found = value[name]
    if steps[0].endswith("[]"):
        return all(_walk(item, steps[1:], rule, allowed) for item in _items(found))
    return _walk(found, steps[1:], rule, allowed)


def _holds(value: Any, rule: Rule, allowed: tuple[Any, ...]) -> bool:
    if rule.is_presence:
        return value is not None
    if rule.prefix:
        return all(_is_in(value[key], allowed) for key in _items(value) if _text(key).startswith(rule.prefix))
    if rule.keys:
        return all(_is_in(key, allowed) for key in _items(value))
    return _is_in(value, allowed)


def _items(value: Any) -> Iterable[Any]:
    if not isinstance(value, dict | list):
        raise _WrongShapeError
    return value


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise _WrongShapeError
    return key


def _is_in(value: Any, allowed: tuple[Any, ...]) -> bool:
    """Return whether a value is among others. Unlike with Python's `in`, false does not equal 0."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed)

"""The rules for templates as CEL, for the chart's ValidatingAdmissionPolicies."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flowcluster_operator.template_rules import (
    CONTAINER_LISTS,
    CONTAINERS,
    RULES,
    TEMPLATES,
    Rule,
    TemplatePolicy,
    camel_case,
    message,
)

#: Names of the policy's variables that hold the administrator's settings: the chart gives them their values.
SETTINGS = tuple(camel_case(field.name) for field in dataclasses.fields(TemplatePolicy))


def template_rules() -> dict[str, Any]:
    """Return `variables` and `validations` of the policy for FlowRuns, without the variables named in `SETTINGS`."""
    return {
        "variables": [item for part, path in TEMPLATES.items() for item in _variables(part, path)],
        "validations": [
            {"expression": expression(part, rule), "message": message(part, rule), "reason": "Forbidden"}
            for part in TEMPLATES
            for rule in RULES
            if part in rule.parts
        ],
    }


def shared_template_rules() -> dict[str, Any]:
    """Return `variables` and `validations` of the policy for SharedClusters, without the variables in `SETTINGS`.

    The names of the variables are those of FlowRuns. Templates of further worker groups are checked together.
    """
    parts = {"workers": ("workers", "template"), "scheduler": ("scheduler", "template")}
    variables = [item for part, path in parts.items() for item in _variables(part, path)]
    variables += [
        {"name": "groups", "expression": _CHANGED_GROUPS},
        {
            "name": "groupPods",
            "expression": "variables.groups.filter(t, has(t.spec) && t.spec != null).map(t, t.spec)",
        },
    ]
    validations = [
        (expression(part, rule), shared_message(part, rule)) for part in parts for rule in RULES if part in rule.parts
    ]
    validations += [(group_expression(rule), shared_message("workers", rule, GROUPS)) for rule in _OF_GROUPS]
    return {
        "variables": variables,
        "validations": [{"expression": text, "message": words, "reason": "Forbidden"} for text, words in validations],
    }


#: Name of a template of further worker groups in messages.
GROUPS = "workerGroups[]"
_OF_GROUPS = [rule for rule in RULES if "workers" in rule.parts]
#: Templates of further worker groups, except those that an update does not change.
_CHANGED_GROUPS = (
    "has(object.spec.workerGroups) ? object.spec.workerGroups.filter(g, has(g.template) && !(oldObject != null && "
    "has(oldObject.spec.workerGroups) && oldObject.spec.workerGroups.exists(o, o.name == g.name && has(o.template) && "
    "o.template == g.template))).map(g, g.template) : []"
)


def shared_message(part: str, rule: Rule, field: str = "") -> str:
    """Return the sentence that refuses a template of a SharedCluster, whose fields are not below `spec.cluster`."""
    return message(part, rule).replace(f"spec.cluster.{part}.", f"spec.{field or part}.")


def group_expression(rule: Rule) -> str:
    """Return the CEL expression that is true where the templates of all further worker groups keep the rule."""
    kept = " && ".join(_group_field(path, rule) for path in rule.paths)
    return f"variables.{camel_case(rule.unless)} || {kept}" if rule.unless else kept


def _group_field(path: str, rule: Rule) -> str:
    steps = path.split(".") if path else []
    if path.startswith(CONTAINERS):
        containers = " + ".join(f"({_or_empty('p', name, '[]')})" for name in CONTAINER_LISTS)
        return f"variables.groupPods.all(p, ({containers}).all(c, {_walk('c', steps[1:], rule, 0)}))"
    if path.startswith("spec."):
        return f"variables.groupPods.all(p, {_walk('p', steps[1:], rule, 0)})"
    return f"variables.groups.all(t, {_walk('t', steps, rule, 0)})"


def _variables(part: str, path: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the variables that hold the template at that path of the spec, its pod and its containers."""
    containers = " + ".join(f"({_or_empty(f'variables.{part}Pod', name, '[]')})" for name in CONTAINER_LISTS)
    return [
        {"name": part, "expression": _changed(path)},
        {"name": f"{part}Pod", "expression": _or_empty(f"variables.{part}", "spec", "{}")},
        {"name": f"{part}Containers", "expression": containers},
    ]


def _or_empty(owner: str, name: str, empty: str) -> str:
    return f"has({owner}.{name}) && {owner}.{name} != null ? {owner}.{name} : {empty}"


def _changed(path: tuple[str, ...]) -> str:
    """Return the template, or an empty one if it is absent or not changed.

    An update of a FlowRun that existed before the policy must pass if it does not change the templates: the removal of
    a finalizer, for one, is an update.
    """
    new, old = _present("object.spec", path), _present("oldObject.spec", path)
    where = ".".join(path)
    same = f"oldObject != null && {old} && oldObject.spec.{where} == object.spec.{where}"
    return f"{new} && !({same}) ? object.spec.{where} : {{}}"


def _present(root: str, path: tuple[str, ...]) -> str:
    return " && ".join(f"has({root}.{'.'.join(path[: count + 1])})" for count in range(len(path)))


def expression(part: str, rule: Rule) -> str:
    """Return the CEL expression that is true where the template of that part keeps the rule.

    It agrees with `flowcluster_operator.policies.templates`, which also refuses an invalid pod template. In a text or a
    number in place of an object, Kubernetes' CEL finds no field, and so no broken rule.
    """
    kept = " && ".join(_field(part, path, rule) for path in rule.paths)
    return f"variables.{camel_case(rule.unless)} || {kept}" if rule.unless else kept


def _field(part: str, path: str, rule: Rule) -> str:
    steps = path.split(".") if path else []
    if path.startswith(CONTAINERS):
        return f"variables.{part}Containers.all(c, {_walk('c', steps[1:], rule, 0)})"
    if path.startswith("spec."):
        return _walk(f"variables.{part}Pod", steps[1:], rule, 0)
    return _walk(f"variables.{part}", steps, rule, 0)


def _walk(value: str, steps: list[str], rule: Rule, depth: int) -> str:
    if not steps:
        return _holds(value, rule, depth)
    name = steps[0].removesuffix("[]")
    is_last = len(steps) == 1
    field = f"{value}.{name}"
    if steps[0].endswith("[]"):
        item = f"i{depth}"
        inner = f"{field}.all({item}, {_walk(item, steps[1:], rule, depth + 1)})"
    else:
        inner = _walk(field, steps[1:], rule, depth)
    null = f" || {field} == null" if rule.null or not is_last else ""
    return f"(!has({field}){null} || {inner})"


def _holds(value: str, rule: Rule, depth: int) -> str:
    key = f"i{depth}"
    if rule.is_presence:
        return f"{value} != null"
    if rule.prefix:
        wanted = f"!{key}.startsWith({json.dumps(rule.prefix)}) || {_is_in(f'{value}[{key}]', rule)}"
        return f"{value}.all({key}, {wanted})"
    return f"{value}.all({key}, {_is_in(key, rule)})" if rule.keys else _is_in(value, rule)


def _is_in(value: str, rule: Rule) -> str:
    lists = [json.dumps(rule.values)] if rule.values else []
    lists += [f"variables.{camel_case(rule.listed)}"] if rule.listed else []
    return "(" + " || ".join(f"{value} in {each}" for each in lists) + ")"

"""The rules for templates as CEL, for the chart's ValidatingAdmissionPolicy."""

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
    """Return `variables` and `validations` of the policy, without the variables named in `SETTINGS`."""
    variables = []
    for part, path in TEMPLATES.items():
        variables += [
            {"name": part, "expression": _changed(path)},
            {"name": f"{part}Pod", "expression": _or_empty(f"variables.{part}", "spec", "{}")},
            {
                "name": f"{part}Containers",
                "expression": " + ".join(
                    f"({_or_empty(f'variables.{part}Pod', name, '[]')})" for name in CONTAINER_LISTS
                ),
            },
        ]
    return {
        "variables": variables,
        "validations": [
            {"expression": expression(part, rule), "message": message(part, rule), "reason": "Forbidden"}
            for part in TEMPLATES
            for rule in RULES
            if part in rule.parts
        ],
    }


def _or_empty(owner: str, name: str, empty: str) -> str:
    return f"has({owner}.{name}) && {owner}.{name} != null ? {owner}.{name} : {empty}"


def _changed(path: tuple[str, ...]) -> str:
    """The template, or an empty one where it is absent or as it was.

    An update of a FlowRun that existed before the policy must pass while it leaves the templates as they are: a
    finalizer is removed by an update, for one.
    """
    new, old = _present("object.spec", path), _present("oldObject.spec", path)
    where = ".".join(path)
    same = f"oldObject != null && {old} && oldObject.spec.{where} == object.spec.{where}"
    return f"{new} && !({same}) ? object.spec.{where} : {{}}"


def _present(root: str, path: tuple[str, ...]) -> str:
    return " && ".join(f"has({root}.{'.'.join(path[: count + 1])})" for count in range(len(path)))


def expression(part: str, rule: Rule) -> str:
    """Return the CEL expression that is true where the template of that part keeps the rule.

    It agrees with `flowcluster_operator.policies.templates`. That one also refuses what is no pod template: Kubernetes'
    CEL finds no field in a text or a number, and so no broken rule.
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

"""CEL rules of CRDs and of admission policies, evaluated as an API server does."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from typing import Any

import cel

from flowcluster_operator.template_rules import TemplatePolicy, camel_case

_ESCAPED = re.compile(r"\b__([a-z]+)__\b")


@functools.cache
def program(rule: str) -> cel.Program:
    """Return the rule, ready to be evaluated on objects whose fields have their own names.

    The interpreter does not know how Kubernetes writes fields with reserved names.
    """
    return cel.compile(_ESCAPED.sub(r"\1", rule))


def refusing(
    rules: Iterable[str],
    definitions: Iterable[dict[str, Any]],
    spec: dict[str, Any],
    policy: TemplatePolicy,
    old: dict[str, Any] | None,
) -> set[str]:
    """Return the rules of an admission policy that refuse a spec.

    As on the API server, a rule that cannot be evaluated refuses, and so does one that uses such a variable.

    Args:
        rules: expressions that are true of what is allowed.
        definitions: variables of the policy in their order, each with its name and expression.
        spec: what is created, or what it is after an update.
        policy: what the administrator allows.
        old: the spec before the update.
    """
    variables: dict[str, Any] = {camel_case(name): value for name, value in dataclasses.asdict(policy).items()}
    seen = {"object": {"spec": spec}, "oldObject": None if old is None else {"spec": old}, "variables": variables}
    for item in definitions:
        found = _value(item["expression"], cel.Context(seen))
        if not isinstance(found, Exception):
            variables[item["name"]] = found
    context = cel.Context(seen)  # a dict would be converted for each rule
    return {rule for rule in rules if _value(rule, context) is not True}


def _value(rule: str, context: cel.Context) -> Any:
    try:
        return program(rule).execute(context)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        return error

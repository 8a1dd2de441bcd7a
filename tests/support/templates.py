"""Pod templates that keep or break the rules of `flowcluster_operator.template_rules`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from flowcluster_operator.template_rules import CONTAINER_LISTS, CONTAINERS, RULES, TEMPLATES, Rule

Template = dict[str, Any]
#: A text that no rule allows anywhere.
STRANGE = "strange"


class Broken(NamedTuple):
    """A template that breaks one rule in one place."""

    part: str
    rule: Rule
    path: str
    template: Template


def all_broken() -> Iterator[Broken]:
    """Break every rule in every of its fields, in every part of a run."""
    for rule in RULES:
        for part in rule.parts:
            for path in rule.paths:
                for concrete in concrete_paths(path):
                    for value in wrong_values(rule):
                        yield Broken(part, rule, concrete, holding(concrete, value))


def concrete_paths(path: str) -> list[str]:
    """Return the paths in a pod template that a rule's path means: one for each list of containers."""
    if not path.startswith(CONTAINERS):
        return [path]
    rest = path.removeprefix(CONTAINERS)
    return [f"spec.{name}[]{rest}" for name in CONTAINER_LISTS]


def wrong_values(rule: Rule) -> list[Any]:
    """Return values that break a rule."""
    wrong: list[Any] = [] if rule.null else [None]
    if rule.prefix:
        return [{rule.prefix + "driver": STRANGE}]
    if rule.keys:
        return [{STRANGE: {}}, {STRANGE: None}]
    if rule.is_presence:
        return wrong
    if False in rule.values:
        wrong.append(True)
    return [*wrong, STRANGE, {}, 80]


def holding(path: str, value: Any) -> Template:
    """Return a template with that value at that path; every list on the way has one item."""
    steps = path.split(".") if path else []
    for step in reversed(steps):
        name = step.removesuffix("[]")
        if step.endswith("[]"):
            value = [{"name": name, **value} if isinstance(value, dict) else value]
        value = {name: value}
    return dict(value)


def spec_with(part: str, template: Template) -> dict[str, Any]:
    """Return the spec of a FlowRun with that template, and no other one."""
    spec: dict[str, Any] = {
        "flow": {"entrypoint": "greetings.py:greetings"},
        "cluster": {"kind": "Dask", "workers": {"minimum": 1}, "scheduler": {}},
    }
    holder = spec
    *owners, last = TEMPLATES[part]
    for owner in owners:
        holder = holder[owner]
    holder[last] = template
    return spec


#: What an administrator would call usual, for each part of a run.
USUAL: Template = {
    "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
    "spec": {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priorityClassName": "high",
        "hostNetwork": False,
        "nodeName": None,
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "all", "projected": {"sources": [{"configMap": {"name": "x"}}, {"secret": {"name": "y"}}]}},
        ],
        "containers": [
            {
                "name": "worker",
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"containerPort": 80}],
                "readinessProbe": None,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "initContainers": [{"name": "fetch", "image": "a:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
    },
}


@st.composite
def templates(draw: st.DrawFn, *, is_shaped: bool = True) -> Template:
    """Templates in which any ruled field can hold anything.

    Unless `is_shaped`, any field on the way can be of another type than in a PodTemplateSpec, too.
    """
    template = copy.deepcopy(USUAL) if draw(st.booleans()) else {}
    for rule in draw(st.lists(st.sampled_from(RULES), max_size=4)):
        path = draw(st.sampled_from([each for path in rule.paths for each in concrete_paths(path)]))
        known = st.sampled_from([*rule.values, *wrong_values(rule)])
        value = draw(known if rule.is_presence or rule.keys or rule.prefix else known | _JSON)
        _put(template, path.split(".") if path else [], value)
    if not is_shaped:
        path = draw(st.sampled_from([each for rule in RULES for path in rule.paths for each in concrete_paths(path)]))
        steps = path.split(".") if path else []
        _put(template, steps[: draw(st.integers(0, len(steps)))], draw(_JSON))
    return template


_SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "0", STRANGE, "name"])
_JSON = (
    _SCALARS
    | st.lists(_SCALARS, max_size=2)
    | st.dictionaries(st.sampled_from(["a", "name", "spec"]), _SCALARS, max_size=2)
)


def _put(owner: Any, steps: list[str], value: Any) -> None:
    """Set the value at a path, as far as the values on the way allow it."""
    for number, step in enumerate(steps):
        if not isinstance(owner, dict):
            return
        name = step.removesuffix("[]")
        is_last = number == len(steps) - 1
        if not step.endswith("[]"):
            if is_last:
                owner[name] = value
                return
            owner = owner.setdefault(name, {})
        elif is_last:
            owner[name] = [value]
            return
        else:
            items = owner.setdefault(name, [])
            if not isinstance(items, list):
                return
            items.append({"name": name})
            owner = items[-1]

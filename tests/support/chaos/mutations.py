"""Values for every leaf of the FlowRun's spec, made from the CRD's own schema: edges, wrong types, odd texts."""

from __future__ import annotations

import copy
import dataclasses
import functools
import random
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.rig.client import Body
from tests.support.world import ROOT

_CRD = ROOT / "manifests/crds/flowruns.yaml"
_HUGE = 2**63
#: Values of another type: none of them is a number, a boolean or a text that a leaf takes.
_WRONG: tuple[Any, ...] = ([], ["x"], {"x": 1})
_TEXTS = ("", " ", "x", "\u00a0", "a b", "a\nb", "é", "../x", "-", "x" * 5000, 1, True, "$(HOME)", "{{x}}")
_QUANTITIES = ("+1Gi", "1n", "1e3", "1e3.5", "-1", "0", "", "1k", 1, 1.5, True, "999E", None)
#: What templates and parameters, whose content the schema leaves open, may hold.
_TEMPLATES: tuple[Any, ...] = (
    {},
    "x",
    [],
    {"spec": "x"},
    {"spec": {"containers": "x"}},
    {"spec": {"containers": ["x"]}},
    {"spec": {"containers": [{"name": {}}]}},
    {"spec": {"containers": [{"name": "main", "image": 1}]}},
    {"spec": {"containers": [{"env": "x"}]}},
    {"spec": {"volumes": {"name": "x"}}},
    {"spec": {"nodeSelector": ["x"]}},
    {"spec": {"terminationGracePeriodSeconds": "x"}},
    {"spec": None},
    {"metadata": 1},
    {"metadata": {"labels": {"app": 1}}},
    {"metadata": {"annotations": "x"}},
    {"unknown": {"a": [1, 2]}},
)
_PARAMETERS: tuple[Any, ...] = (
    {},
    "x",
    [],
    {"": 1},
    {"a b": "$(HOME)"},
    {"n": 1e308},
    {"deep": {"a": {"b": {"c": [None, True, {"d": "é"}]}}}},
    {"long": "x" * 100_000},
)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A field of the spec that holds a value, or a map of values.

    Attributes:
        path: names from ``spec`` on.
        schema: its schema in the CRD.
    """

    path: tuple[str, ...]
    schema: Body = dataclasses.field(hash=False)

    def __str__(self) -> str:
        return ".".join(self.path)

    def values(self) -> list[Any]:
        """Return at least six values: at the edges of what the schema allows, beyond them, and of other types."""
        kind = self.schema.get("type")
        if self.schema.get("x-kubernetes-preserve-unknown-fields"):
            return list(_PARAMETERS if self.path[-1] == "parameters" else _TEMPLATES)
        if "additionalProperties" in self.schema:
            return list(self._maps())
        if kind in ("integer", "number"):
            low, high = self.schema.get("minimum", 0), self.schema.get("maximum", _HUGE)
            return [low, high, low - 1, high + 1, 0, -1, "1", 1.5, True, None, *_WRONG]
        if kind == "boolean":
            return [True, False, "true", 1, 0, None, *_WRONG]
        words = [*self.schema.get("enum", ()), *(str(word).lower() for word in self.schema.get("enum", ()))]
        length = self.schema.get("maxLength", 253)
        return [*words, *_TEXTS, "x" * length, "x" * (length + 1), None, *_WRONG]

    def _maps(self) -> Iterator[Any]:
        if self.schema["additionalProperties"].get("x-kubernetes-int-or-string"):
            for name in ("cpu", "memory", "nvidia.com/gpu"):
                yield from ({name: quantity} for quantity in _QUANTITIES)
        else:
            yield from ({"GPU": number} for number in (0, 1, 1.5, -1, 1e308, "1", None))
        yield from ({"": 1}, {"a b": 1}, {"é": 1}, {f"x{number}": 1 for number in range(33)}, "x", [])


@functools.cache
def leaves() -> tuple[Leaf, ...]:
    """Return all leaves of ``spec``, from the CRD."""
    crd = yaml.safe_load(_CRD.read_text())
    (version,) = crd["spec"]["versions"]
    return tuple(_leaves(("spec",), version["schema"]["openAPIV3Schema"]["properties"]["spec"]))


def _leaves(path: tuple[str, ...], schema: Body) -> Iterator[Leaf]:
    properties = schema.get("properties")
    if not properties:
        yield Leaf(path, schema)
        return
    for name, child in properties.items():
        yield from _leaves((*path, name), child)


@dataclasses.dataclass(frozen=True)
class Mutation:
    """Values of some leaves.

    Attributes:
        changes: leaf and value.
    """

    changes: tuple[tuple[Leaf, Any], ...]

    def __str__(self) -> str:
        return ", ".join(f"{leaf}={_short(value)}" for leaf, value in self.changes)

    def spec(self, valid: Body) -> Body:
        """Return a valid spec with the changes."""
        body: Body = {"spec": copy.deepcopy(valid)}
        for leaf, value in self.changes:
            holder = body
            for name in leaf.path[:-1]:
                holder = holder.setdefault(name, {})
            holder[leaf.path[-1]] = copy.deepcopy(value)
        spec: Body = body["spec"]
        return spec

    def is_named_in(self, message: str) -> bool:
        """Whether a refusal names one of the fields.

        A rule between fields stands at their common parent, and names the fields in its message.
        """
        return any(_names(message, leaf.path) for leaf, _value in self.changes)


def single_mutations(values_a_leaf: int | None, seed: int) -> list[Mutation]:
    """Return mutations of one leaf each: all values of each leaf, or that many, which the seed chooses."""
    chosen = random.Random(seed)
    found = []
    for leaf in leaves():
        values = leaf.values()
        if values_a_leaf is not None:
            values = chosen.sample(values, min(values_a_leaf, len(values)))
        found += [Mutation(((leaf, value),)) for value in values]
    return found


def combinations(number: int, seed: int) -> list[Mutation]:
    """Return that many mutations of two to four leaves each, which the seed chooses."""
    chosen, every = random.Random(seed), leaves()
    return [
        Mutation(tuple((leaf, chosen.choice(leaf.values())) for leaf in chosen.sample(every, chosen.randint(2, 4))))
        for _ in range(number)
    ]


def _names(message: str, path: tuple[str, ...]) -> bool:
    if ".".join(path) in message:
        return True
    explanation = message.partition("Invalid value")[2]
    if any(".".join(path[:length]) in explanation for length in range(2, len(path))):
        return True  # such as "spec.flow cannot change"
    words = set(re.findall(r"\w+", message))
    return any(
        ".".join(path[:length]) in message and not words.isdisjoint(path[length:]) for length in range(2, len(path))
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

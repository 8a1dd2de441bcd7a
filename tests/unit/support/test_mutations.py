"""The generator of mutations covers every field of the FlowRun's spec."""

from __future__ import annotations

import pytest

from tests.support.chaos.mutations import Leaf, combinations, leaves, single_mutations

VALID = {"flow": {"entrypoint": "a.py:b"}, "cluster": {"kind": "Dask"}}


@pytest.mark.parametrize("leaf", leaves(), ids=str)
def test_leaf_has_six_different_values(leaf: Leaf) -> None:
    assert len({repr(value) for value in leaf.values()}) >= 6


def test_leaves_are_those_of_all_parts_of_the_spec() -> None:
    names = {str(leaf) for leaf in leaves()}

    assert {
        "spec.cancel",
        "spec.cluster.ref.name",
        "spec.flow.template",
        "spec.cluster.workers.resources.limits",
    } <= names


def test_mutation_changes_only_its_leaf() -> None:
    mutation = next(one for one in single_mutations(None, 1) if str(one) == "spec.cluster.workers.threads=0")

    assert mutation.spec(VALID) == {**VALID, "cluster": {"kind": "Dask", "workers": {"threads": 0}}}
    assert "workers" not in VALID["cluster"]


def test_mutations_are_the_same_when_the_seed_is_the_same() -> None:
    assert single_mutations(2, 1) == single_mutations(2, 1) != single_mutations(2, 2)
    assert combinations(5, 1) == combinations(5, 1) != combinations(5, 2)


@pytest.mark.parametrize(
    ("field", "message", "is_named"),
    [
        ("spec.cluster.workers.threads", "spec.cluster.workers.threads: Invalid value: 0", True),
        ("spec.cluster.ref.name", "spec.cluster: Invalid value: ref names an existing cluster", True),
        ("spec.cluster.workers.threads", "spec.cluster: Invalid value: kind is wrong", False),
        ("spec.flow.template", '<nil>: Invalid value: "object": spec.flow cannot change', True),
        ("spec.cancel", "the object is invalid", False),
    ],
)
def test_refusal_names_a_field_by_its_path_or_at_a_parent(field: str, message: str, is_named: bool) -> None:
    mutation = next(one for one in single_mutations(1, 1) if str(one.changes[0][0]) == field)

    assert mutation.is_named_in(message) == is_named

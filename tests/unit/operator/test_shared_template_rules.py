"""What templates of SharedClusters can contain: judged by the operator, and by the chart's admission policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api.v1alpha1 import SharedClusterSpec
from flowcluster_operator.policies.shared.admission import broken_template
from flowcluster_operator.settings import Settings
from flowcluster_operator.template_rules import TemplatePolicy
from tests.support.cel_rules import refusing
from tests.support.templates import STRANGE, USUAL, Template, all_broken, holding, templates
from tests.unit.operator.test_template_rules import POLICY, WIDEST
from tools.admission import shared_template_rules

RULES = shared_template_rules()
FIELDS = ["workers", "scheduler", "workerGroups[gpu]"]
FIELD = pytest.mark.parametrize("field", FIELDS)
BROKEN = [case for case in all_broken() if case.part == "workers"]


def spec_with(field: str, template: Template) -> dict[str, Any]:
    """The spec of a SharedCluster with that template, and no other one."""
    spec: dict[str, Any] = {
        "kind": "Dask",
        "workers": {"minimum": 1},
        "scheduler": {},
        "workerGroups": [{"name": "big"}, {"name": "gpu"}],
    }
    holder = spec["workerGroups"][1] if field.startswith("workerGroups") else spec[field]
    holder["template"] = template
    return spec


def denied(spec: dict[str, Any], policy: TemplatePolicy = POLICY, old: dict[str, Any] | None = None) -> list[str]:
    """Return why the admission policy refuses a spec."""
    messages = {item["expression"]: item["message"] for item in RULES["validations"]}
    return [messages[rule] for rule in refusing(messages, RULES["variables"], spec, policy, old)]


def refused(spec: dict[str, Any], policy: TemplatePolicy = POLICY) -> str | None:
    """Return why the operator refuses a spec."""
    refusal = broken_template(SharedClusterSpec.model_validate(spec), Settings(template_policy=policy))
    return refusal.message if refusal is not None else None


@FIELD
def test_usual_template_is_allowed(field: str) -> None:
    assert refused(spec_with(field, USUAL)) is None
    assert denied(spec_with(field, USUAL)) == []


@FIELD
def test_every_broken_rule_is_refused_with_its_field(field: str) -> None:
    for case in BROKEN:
        spec = spec_with(field, case.template)
        message, denials = refused(spec), denied(spec)

        assert message is not None, case
        assert message.startswith(f"spec.{field}.template"), message
        assert denials, case
        assert all(text.startswith(f"spec.{field.replace('gpu', '')}.template") for text in denials), denials


@given(st.sampled_from(FIELDS), templates(), st.sampled_from([POLICY, WIDEST]))
def test_operator_and_admission_policy_agree(field: str, template: Template, policy: TemplatePolicy) -> None:
    spec = spec_with(field, template)

    assert (refused(spec, policy) is None) is (denied(spec, policy) == [])


@FIELD
def test_update_that_leaves_a_template_as_it_is_passes(field: str) -> None:
    """A cluster that existed before the policy must be able to be scaled and suspended."""
    old = spec_with(field, holding("spec.hostNetwork", True))

    assert denied({**old, "suspend": True}, old=old) == []
    assert denied(old, old=spec_with(field, {})) != []


def test_template_of_a_group_that_is_given_to_another_group_is_judged() -> None:
    old = spec_with("workerGroups[gpu]", holding("spec.nodeName", STRANGE))
    moved = {**old, "workerGroups": [{**old["workerGroups"][1], "name": "big"}]}

    assert denied(moved, old=old) != []

"""What templates can contain: judged by the operator, and by the chart's admission policy."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flowcluster_api import conditions as c
from flowcluster_operator.policies.templates import broken_rule
from flowcluster_operator.settings import Settings, SettingsError
from flowcluster_operator.template_rules import RULES, TEMPLATES, Rule, TemplatePolicy
from tests.support.cel_rules import refusing
from tests.support.makers import SETTINGS, cluster, job, observed
from tests.support.makers import spec as flow_run_spec
from tests.support.plans import CHILDREN, plan_for, settled, started
from tests.support.templates import STRANGE, USUAL, Template, all_broken, holding, spec_with, templates, wrong_values
from tools.admission import SETTINGS as POLICY_VARIABLES
from tools.admission import expression, template_rules
from tools.generate import ROOT

POLICY = TemplatePolicy()
_FLAGS = {field.name: True for field in dataclasses.fields(TemplatePolicy) if isinstance(field.default, bool)}
#: Allows all that a setting can allow.
WIDEST = TemplatePolicy(
    service_accounts=(STRANGE,), volumes=(STRANGE, "projected"), capabilities=(STRANGE,), runtime_classes=(STRANGE,),
    sysctls=(STRANGE,), **_FLAGS,
)  # fmt: skip
BROKEN = list(all_broken())


#: The expressions of the chart's policy by the part whose template they judge, first its variables.
IN_CEL = {
    part: (
        [item for item in template_rules()["variables"] if item["name"].startswith(part)],
        [(rule, expression(part, rule)) for rule in RULES if part in rule.parts],
    )
    for part in TEMPLATES
}


def denied(
    part: str, spec: dict[str, Any], policy: TemplatePolicy = POLICY, old: dict[str, Any] | None = None
) -> list[Rule]:
    """Return the rules by which the admission policy refuses the template of that part."""
    definitions, rules = IN_CEL[part]
    found = refusing([text for _, text in rules], definitions, spec, policy, old)
    return [rule for rule, text in rules if text in found]


@pytest.mark.parametrize("part", TEMPLATES)
def test_usual_template_is_allowed(part: str) -> None:
    assert broken_rule(part, USUAL, POLICY) is None
    assert denied(part, spec_with(part, USUAL)) == []


@pytest.mark.parametrize("number", range(len(RULES)))
def test_every_broken_rule_is_refused_with_its_field(number: int) -> None:
    cases = [case for case in BROKEN if case.rule is RULES[number]]
    assert cases
    for case in cases:
        message = broken_rule(case.part, case.template, POLICY)
        assert message is not None, case
        assert ".".join(("spec", *TEMPLATES[case.part])) in message
        assert case.path.rpartition("[]")[2].rpartition(".")[2] in message
        assert case.rule in denied(case.part, spec_with(case.part, case.template)), case


def test_every_rule_with_a_setting_is_lifted_by_it() -> None:
    for case in BROKEN:
        if case.rule.setting and STRANGE in json.dumps(case.template):
            is_lifted = broken_rule(case.part, case.template, WIDEST) is None
            assert is_lifted is (not denied(case.part, spec_with(case.part, case.template), WIDEST))
            assert is_lifted, case


@given(st.sampled_from(list(TEMPLATES)), templates(), st.sampled_from([POLICY, WIDEST]))
@example("workers", {"spec": None, "metadata": None}, POLICY)
@example("workers", {"spec": {"containers": [{"ports": [{"hostPort": False}]}]}}, POLICY)
@example("workers", {"spec": {"containers": [{"ports": [{"hostPort": 0.0}]}]}}, POLICY)
def test_operator_and_admission_policy_agree(part: str, template: Template, policy: TemplatePolicy) -> None:
    message = broken_rule(part, template, policy)

    assert (message is None) is (denied(part, spec_with(part, template), policy) == []), message


@given(st.sampled_from(list(TEMPLATES)), templates(is_shaped=False), st.sampled_from([POLICY, WIDEST]))
@example("flow", {"spec": {"containers": {}}}, POLICY)
@example("flow", {"spec": {"containers": "ab"}}, POLICY)
@example("workers", {"spec": {"volumes": [["name"]]}}, POLICY)
def test_operator_allows_no_template_that_the_admission_policy_denies(
    part: str, template: Template, policy: TemplatePolicy
) -> None:
    """Also an invalid pod template: Kubernetes' CEL finds no field in a text or a number, so no rule is broken."""
    if broken_rule(part, template, policy) is None:
        assert denied(part, spec_with(part, template), policy) == []


def test_update_that_leaves_a_template_as_it_is_passes() -> None:
    """A run that existed before the policy must be able to lose its finalizers and to be cancelled."""
    old = spec_with("flow", holding("spec.hostNetwork", True))

    assert denied("flow", {**old, "cancel": True}, old=old) == []
    assert denied("flow", old, old=spec_with("flow", {}))
    assert denied("flow", old, old=spec_with("workers", {}))


def test_chart_values_are_the_defaults_of_the_operator() -> None:
    values = yaml.safe_load((ROOT / "charts/flowcluster/values.yaml").read_text())["templates"]
    schema = json.loads((ROOT / "charts/flowcluster/values.schema.json").read_text())["properties"]["templates"]
    del values["admissionPolicy"]

    assert TemplatePolicy.from_json(json.dumps(values)) == POLICY
    assert set(values) == set(POLICY_VARIABLES)
    assert set(schema["properties"]) == {*values, "admissionPolicy"} == set(schema["required"])


@pytest.mark.parametrize("text", ["", "[]", '{"typo": true}', '{"privileged": "yes"}', '{"volumes": "secret"}'])
def test_wrong_template_policy_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="FLOWCLUSTER_TEMPLATE_POLICY"):
        Settings.from_environment({"FLOWCLUSTER_TEMPLATE_POLICY": text})


def test_settings_hold_the_policy_of_the_chart() -> None:
    found = Settings.from_environment({"FLOWCLUSTER_TEMPLATE_POLICY": '{"serviceAccounts": ["a"], "nodeName": true}'})

    assert found.template_policy == TemplatePolicy(service_accounts=("a",), node_name=True)
    assert SETTINGS.template_policy == POLICY


@pytest.mark.parametrize("part", TEMPLATES)
def test_run_with_a_forbidden_template_fails_before_anything_exists(part: str) -> None:
    plan = plan_for(observed(spec_with(part, holding("spec.hostPID", True))))

    assert plan.actions == ()
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Stopping", c.TEMPLATE_NOT_ALLOWED)
    assert f"{'.'.join(TEMPLATES[part])}.spec.hostPID" in plan.status["message"]


def test_stricter_policy_leaves_running_runs_alone() -> None:
    body = spec_with("flow", holding("spec.hostPID", True))
    seen = observed(body, status=started(), **{**CHILDREN, "job": job(body), "cluster": cluster(body)})

    assert settled(seen)["reason"] != c.TEMPLATE_NOT_ALLOWED


def test_template_that_is_edited_before_its_cluster_exists_is_judged() -> None:
    """The Job exists and the cluster was refused: the edited template of the workers is not used unseen."""
    body = {**flow_run_spec(), **{"cluster": spec_with("workers", holding("spec.nodeName", "a"))["cluster"]}}
    seen = observed(body, status=started(), **{**CHILDREN, "job": job(), "cluster": None})

    assert settled(seen)["reason"] == c.TEMPLATE_NOT_ALLOWED


def test_rules_name_settings_that_exist() -> None:
    fields = {field.name for field in dataclasses.fields(TemplatePolicy)}

    assert {rule.unless for rule in RULES} | {rule.listed for rule in RULES} == {"", *fields}
    assert all(wrong_values(rule) for rule in RULES)

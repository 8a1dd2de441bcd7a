"""A user's pod template over ours, whatever the user wrote."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.overlay import merge_template, strategic_merge
from flowcluster_operator.errors import TemplateError
from tests.support.makers import KEY, KEYS, SETTINGS, spec
from tests.support.strategies import CLEAN_TEXT, json_values

PATH = "spec.flow.template"
#: Our own template, with labels, environment, mounts and volumes.
BASE: dict[str, Any] = driver_job(KEY, FlowRunSpec.model_validate(spec()), SETTINGS, KEYS, None)["spec"]["template"]
NAMES = st.sampled_from(["driver", "flowcluster-keys", "FLOWCLUSTER_KEYS", "mine", "other"])
VALUES = json_values(st.sampled_from(["name", "value", "mountPath", "limits", "x"]))
#: A template with the right fields, some of which hold something else.
FIELDS = st.sampled_from(
    ["metadata", "labels", "spec", "containers", "env", "volumes", "volumeMounts", "ports", "tolerations", "name"]
)
TEMPLATES = st.dictionaries(FIELDS, json_values(FIELDS), max_size=4) | st.fixed_dictionaries(
    {"spec": st.fixed_dictionaries({"containers": st.lists(st.dictionaries(FIELDS, json_values(FIELDS)), max_size=2)})}
)
VARIABLES = st.dictionaries(NAMES, CLEAN_TEXT, max_size=4).map(
    lambda drawn: [{"name": name, "value": value} for name, value in drawn.items()]
)
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": CLEAN_TEXT, "env": VARIABLES}),
    max_size=3,
    unique_by=lambda container: container["name"],
)
#: A template as users write it.
SOUND = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({}, optional={"labels": st.dictionaries(NAMES, CLEAN_TEXT)}),
        "spec": st.fixed_dictionaries(
            {}, optional={"containers": CONTAINERS, "nodeSelector": st.dictionaries(NAMES, CLEAN_TEXT)}
        ),
    },
)


def containers(template: dict[str, Any]) -> dict[str, Any]:
    """The containers of a template by their names."""
    return {container["name"]: container for container in template["spec"].get("containers", [])}


@given(TEMPLATES)
def test_template_is_laid_over_or_refused_by_its_field(template: dict[str, Any]) -> None:
    """The CRD takes in any object. What is wrong with it must be a message in status, and not a bug in a pass."""
    merged, message = BASE, PATH
    try:
        merged = merge_template(BASE, template, PATH)
    except TemplateError as error:
        message = str(error)

    assert message.startswith(PATH)
    assert merged["metadata"]["labels"].items() >= BASE["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "containers",
    [["x"], [{}], [{"name": None}], [{"name": {}}], [{"name": "driver", "env": [{"value": "1"}]}]],
    ids=str,
)
def test_template_is_refused_when_an_item_has_no_name(containers: list[Any]) -> None:
    with pytest.raises(TemplateError, match=r"spec\.flow\.template: each item of (containers|env) must be .* a name"):
        merge_template(BASE, {"spec": {"containers": containers}}, PATH)


@given(TEMPLATES | SOUND)
def test_overlay_changes_neither_template(template: dict[str, Any]) -> None:
    ours, theirs = copy.deepcopy(BASE), copy.deepcopy(template)
    try:
        merge_template(ours, theirs, PATH)
    except TemplateError:
        pass

    assert (ours, theirs) == (BASE, template)


@given(SOUND)
def test_overlay_keeps_the_labels_by_which_the_run_finds_its_pods(template: dict[str, Any]) -> None:
    theirs = {**template, "metadata": {"labels": {names.LABEL_RUN_UID: "another", "mine": "1"}}}
    labels = merge_template(BASE, theirs, PATH)["metadata"]["labels"]

    assert labels == {**BASE["metadata"]["labels"], "mine": "1"}


def test_overlay_changes_nothing_when_the_template_is_empty() -> None:
    assert merge_template(BASE, {}, PATH) == BASE


@given(SOUND)
def test_overlay_changes_nothing_when_it_is_repeated(template: dict[str, Any]) -> None:
    merged = merge_template(BASE, template, PATH)

    assert merge_template(merged, template, PATH) == merged


@given(SOUND)
def test_overlay_keeps_all_our_containers_in_their_order(template: dict[str, Any]) -> None:
    merged = containers(merge_template(BASE, template, PATH))

    assert list(merged)[: len(containers(BASE))] == list(containers(BASE))
    assert set(merged) == {*containers(BASE), *containers({"spec": {}, **template})}


@given(SOUND)
def test_overlay_keeps_each_variable_that_the_template_does_not_name(template: dict[str, Any]) -> None:
    merged = {item["name"]: item for item in containers(merge_template(BASE, template, PATH))["driver"]["env"]}
    theirs = containers({"spec": {}, **template}).get("driver", {}).get("env", [])
    named = {item["name"]: item["value"] for item in theirs}

    assert {name: item["value"] for name, item in merged.items() if name in named} == named
    for item in containers(BASE)["driver"]["env"]:
        assert item["name"] in named or merged[item["name"]] == item


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES.filter(lambda value: value is not None)))
def test_overlay_sets_each_field_that_the_template_has(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    merged = strategic_merge(ours, theirs)

    assert set(merged) == {*ours, *theirs}
    assert {name: merged[name] for name in ours if name not in theirs} == {
        name: value for name, value in ours.items() if name not in theirs
    }


@given(st.dictionaries(NAMES, VALUES), st.lists(NAMES))
def test_overlay_removes_each_field_that_the_template_sets_to_null(ours: dict[str, Any], removed: list[str]) -> None:
    assert strategic_merge(ours, dict.fromkeys(removed)) == {name: ours[name] for name in ours if name not in removed}


@given(st.lists(VALUES), st.lists(VALUES))
def test_overlay_replaces_lists_without_a_key(ours: list[Any], theirs: list[Any]) -> None:
    assert strategic_merge({"args": ours}, {"args": theirs}) == {"args": theirs}


@given(st.lists(VALUES), st.lists(VALUES))
def test_overlay_appends_tolerations(ours: list[Any], theirs: list[Any]) -> None:
    assert strategic_merge({"tolerations": ours}, {"tolerations": theirs}) == {"tolerations": [*ours, *theirs]}

"""What operator and keeper exchange survives the way, and what another client wrote there breaks nothing."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcluster_api import handover, keeper
from flowcluster_api.keeper import Bounds, Instructions, LiveRun
from flowcluster_api.lease import RETIRED_AT_A_TIME, Demand
from tests.support.strategies import CLEAN_TEXT, json_values

NUMBERS = st.integers(0, 10_000)
GROUPS = (("", Bounds(0, 2, 4)),)
#: Characters of all annotations of an object that Kubernetes accepts, and of sealed credentials.
ANNOTATIONS_LIMIT, SEALED_LIMIT = 256 * 1024, 5_700
RESOURCES = st.dictionaries(CLEAN_TEXT, st.floats(0, 1_000, allow_nan=False), max_size=2).map(
    lambda offered: tuple(sorted(offered.items()))
)
INSTRUCTIONS = st.builds(
    Instructions,
    st.dictionaries(CLEAN_TEXT, st.builds(Bounds, NUMBERS, NUMBERS, NUMBERS, RESOURCES), max_size=3).map(
        lambda groups: tuple(sorted(groups.items()))
    ),
    st.lists(
        st.builds(LiveRun.of, CLEAN_TEXT, st.integers(-100, 100), st.none() | st.integers(1, 100_000)),
        max_size=4,
        unique_by=lambda run: run.digest,
    ).map(lambda runs: tuple(sorted(runs, key=lambda run: run.digest))),
)


def lease(annotations: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations}}


@given(INSTRUCTIONS)
def test_instructions_survive_the_way_to_the_keeper(sent: Instructions) -> None:
    assert keeper.read(keeper.patch(sent)) == sent


@given(INSTRUCTIONS, st.randoms())
def test_text_of_instructions_does_not_depend_on_their_order(sent: Instructions, random: Any) -> None:
    groups, runs = list(sent.groups), list(sent.runs)
    random.shuffle(groups)
    random.shuffle(runs)

    assert Instructions(tuple(groups), tuple(runs)).to_json() == sent.to_json()


@given(CLEAN_TEXT | json_values().map(str))
def test_every_text_is_parsed_as_none_or_as_instructions(text: str) -> None:
    assert isinstance(keeper.read(lease({keeper.ANNOTATION_INSTRUCTIONS: text})), Instructions | None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"groups":{},"runs":[]}',
        '{"groups":{},"runs":"?"}',
        '{"groups":{},"runs":"AAAA"}',
        '{"groups":{"":["1",2,3]},"runs":""}',
        '{"groups":{"":[1,2]},"runs":""}',
        '{"groups":{"":[1,2,3,[]]},"runs":""}',
        '{"groups":{"":[1,2,3,{"GPU":"1"}]},"runs":""}',
        '{"groups":{"":[1,2,3,{"GPU":NaN}]},"runs":""}',
        '{"groups":{"":[1,2,3,{},4]},"runs":""}',
        "x" * 300_000,
    ],
)
def test_broken_instructions_are_none(text: str) -> None:
    assert keeper.read(lease({keeper.ANNOTATION_INSTRUCTIONS: text})) is None


@given(st.integers(0, 99), st.dictionaries(CLEAN_TEXT, NUMBERS, max_size=3))
def test_demand_of_groups_survives_the_way_to_the_operator(workers: int, groups: dict[str, int]) -> None:
    sent = Demand(workers, ("w-1",), tuple(sorted(groups.items())))

    assert Demand.from_json(sent.to_json()) == sent
    assert [sent.of_group(name) for name in groups] == [Demand(number, ("w-1",)) for number in groups.values()]


def test_instructions_without_resources_have_no_place_for_them() -> None:
    assert Instructions((("", Bounds(0, 2, 4)),)).to_json() == '{"groups":{"":[0,2,4]},"runs":""}'


@functools.cache
def many(number: int) -> list[LiveRun]:
    """Return runs of which no two have the same priority and share."""
    return [LiveRun.of(str(n), n % 201 - 100, n + 1) for n in range(number)]


def test_instructions_have_room_for_10_000_runs_of_any_priority_and_share() -> None:
    runs = many(10_000)
    found = keeper.listable(GROUPS, runs, ())

    assert found.digests == {run.digest for run in runs}
    assert keeper.read(keeper.patch(found)) == Instructions(found.groups, tuple(sorted(runs)))


def test_annotations_of_a_lease_have_room_for_all_runs_and_answers() -> None:
    runs = keeper.listable(GROUPS, many(100_000), ())
    answer = handover.CredentialAnswer("u" * 36, "k" * 44, "s" * SEALED_LIMIT)
    request = handover.CredentialRequest("u" * 36, "k" * 44)
    texts = [runs.to_json(), handover.text_of([answer] * handover.AT_A_TIME)]
    texts.append(handover.text_of([request] * handover.AT_A_TIME))
    texts.append(Demand(0, tuple(f"{n:063}" for n in range(10_000))).to_json())

    assert sum(len(text or "") for text in texts) < ANNOTATIONS_LIMIT


@settings(max_examples=20)
@given(st.sets(st.integers(0, 20_000)), st.sampled_from([0, 5, 11_000, 20_000]))
def test_runs_that_are_listed_stay_when_there_are_more_than_fit(gone: set[int], number: int) -> None:
    before = keeper.listable(GROUPS, many(20_000)[:number], ())
    live = [run for n, run in enumerate(many(20_000)) if n not in gone]
    after = keeper.listable(GROUPS, live, before.digests)

    alive = {run.digest for run in live}
    assert before.digests & alive <= after.digests <= alive
    assert keeper.read(keeper.patch(after)) is not None
    assert len(after.runs) in (len(live), len(keeper.listable(GROUPS, many(20_000), ()).runs))


def test_workers_that_retire_together_are_reported_one_batch_after_the_other() -> None:
    retired = [f"w-{n:05}" for n in range(2 * RETIRED_AT_A_TIME + 1)]
    reported = []
    while retired:
        found = Demand.from_json(Demand(0, tuple(retired)).to_json())
        assert found is not None
        reported.append(len(found.retired))
        retired = [name for name in retired if name not in found.retired]

    assert reported == [RETIRED_AT_A_TIME, RETIRED_AT_A_TIME, 1]


def test_demand_without_groups_is_written_as_before() -> None:
    assert Demand(2, ("w-1",)).to_json() == '{"workers":2,"retired":["w-1"]}'


def test_group_that_is_not_named_has_no_demand() -> None:
    assert Demand(5).of_group("gpu") == Demand(0)


@pytest.mark.parametrize("groups", [{"gpu": -3}, {"gpu": "x"}, {"gpu": True}])
def test_number_of_a_group_that_cannot_be_right_is_left_out_or_raised_to_zero(groups: dict[str, Any]) -> None:
    found = Demand.from_json(json.dumps({"workers": 1, "groups": groups}))

    assert found is not None
    assert found.of_group("gpu").workers == 0

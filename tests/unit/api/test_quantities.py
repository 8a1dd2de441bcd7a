"""Kubernetes quantities as numbers, compared with what the official Kubernetes client makes of them."""

from __future__ import annotations

import math
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from flowcluster_api import offers, quantities
from flowcluster_api.v1alpha1.spec import QUANTITY
from tests.support.strategies import TEXT, json_values

SUFFIXES = ["", *"numkMGTPE", *(f"{letter}i" for letter in "KMGTPE")]
DIGITS = st.text(string.digits, min_size=1, max_size=18)
NUMBERS = st.tuples(
    st.sampled_from(["", "+", "-"]),
    DIGITS | st.tuples(DIGITS, st.just("."), DIGITS | st.just("")).map("".join) | DIGITS.map(".{}".format),
).map("".join)


def limited(value: int) -> int:
    """A number within what a quantity can be."""
    return max(min(value, quantities.LARGEST), -quantities.LARGEST)


@given(NUMBERS, st.sampled_from(SUFFIXES))
def test_whole_is_what_the_kubernetes_client_reads(number: str, suffix: str) -> None:
    assert quantities.whole(number + suffix) == limited(math.ceil(parse_quantity(number + suffix)))


@given(NUMBERS, st.integers(-30, 30), st.sampled_from("eE"))
def test_whole_is_what_the_kubernetes_client_reads_when_there_is_an_exponent(
    number: str, exponent: int, letter: str
) -> None:
    text = f"{number}{letter}{exponent}"

    assert quantities.whole(text) == limited(math.ceil(parse_quantity(text)))


@given(
    st.tuples(NUMBERS, st.sampled_from([*SUFFIXES, "e5", "E-7"])).map("".join) | st.text("09.+-eEkKMinum", max_size=5)
)
def test_whole_reads_exactly_what_the_crd_admits(text: str) -> None:
    """A spec that the API server has taken in must not break a pass."""
    try:
        quantities.whole(text)
        is_read = True
    except ValueError:
        is_read = False

    assert is_read == bool(re.fullmatch(QUANTITY, text))


@given(st.integers(-quantities.LARGEST, quantities.LARGEST))
def test_whole_is_the_number_itself_when_there_is_no_suffix(number: int) -> None:
    """Also where a float could not hold it."""
    assert quantities.whole(number) == quantities.whole(str(number)) == number


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "-1e999999999"])
def test_whole_is_quick_and_limited_when_the_exponent_is_huge(text: str) -> None:
    assert quantities.whole(text) in (1, quantities.LARGEST, -quantities.LARGEST)


@given(TEXT.filter(lambda text: not re.fullmatch(QUANTITY, text)))
def test_whole_raises_value_error_when_the_text_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantities.whole(text)


@pytest.mark.parametrize(("amount", "gpus"), [("1k", 1000), (2, 2), ("2", 2), ("1500m", 2)])
def test_gpus_of_a_worker_are_counted_as_kubernetes_does(amount: Any, gpus: float) -> None:
    assert offers.offers({"resources": {"limits": {"nvidia.com/gpu": amount}}})["GPU"] == gpus


@given(
    json_values(st.sampled_from(["spec", "containers"]))
    | st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": st.lists(json_values())})})
)
def test_offers_can_be_read_whatever_the_template_is(template: Any) -> None:
    """The CRD does not check templates; the operator names their faults when it builds the pod."""
    assert offers.offers({"threads": 2, "template": template})["CPU"] == 2

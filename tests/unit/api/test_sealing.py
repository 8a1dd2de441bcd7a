"""Sealed credentials open for the run, the cluster and the key that they were sealed for, and for no other."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import handover
from flowcluster_api.handover import CredentialAnswer, CredentialRequest
from flowcluster_api.sealing import SealError, new_key, open_sealed, public_text, seal
from tests.support.strategies import CLEAN_TEXT, json_values

KEY, OTHER = new_key(), new_key()
PUBLIC = public_text(KEY)
UIDS = st.text(max_size=40)
CONTENTS = st.fixed_dictionaries({name: st.binary(max_size=600) for name in handover.FILES})
FILES = {name: name.encode() for name in handover.FILES}
SEALED = seal(FILES, PUBLIC, "run", "cluster")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@given(CONTENTS, UIDS, UIDS)
def test_credentials_survive_the_way(credentials: dict[str, bytes], run: str, cluster: str) -> None:
    sealed = seal(credentials, PUBLIC, run, cluster)

    assert open_sealed(sealed, KEY, run, cluster) == {name: encoded(data) for name, data in credentials.items()}


def test_another_key_does_not_open() -> None:
    with pytest.raises(SealError, match="sealed to another key"):
        open_sealed(SEALED, OTHER, "run", "cluster")


@given(UIDS, UIDS)
def test_other_uids_do_not_open(run: str, cluster: str) -> None:
    """Also where both together have the same characters."""
    if (run, cluster) != ("run", "cluster"):
        with pytest.raises(SealError):
            open_sealed(SEALED, KEY, run, cluster)
    with pytest.raises(SealError):
        open_sealed(seal(FILES, PUBLIC, run + "x", cluster), KEY, run, "x" + cluster)


@given(st.integers(0, len(base64.b64decode(SEALED)) - 1), st.integers(1, 255))
def test_tampered_byte_does_not_open(place: int, change: int) -> None:
    """Whether it is of the sender's key, of the nonce, of the content or of the tag.

    X25519 ignores the highest bit of a public key. The key itself is authenticated, so that bit is protected too.
    """
    message = bytearray(base64.b64decode(SEALED))
    message[place] ^= change

    with pytest.raises(SealError):
        open_sealed(encoded(bytes(message)), KEY, "run", "cluster")


@given(st.binary(max_size=200).map(encoded) | CLEAN_TEXT | st.text(max_size=50))
def test_text_that_was_not_sealed_does_not_open(text: str) -> None:
    with pytest.raises(SealError):
        open_sealed(text, KEY, "run", "cluster")


@given(st.integers(0, len(SEALED)))
def test_part_of_a_sealed_text_does_not_open(length: int) -> None:
    if length < len(SEALED):
        with pytest.raises(SealError):
            open_sealed(SEALED[:length], KEY, "run", "cluster")
    with pytest.raises(SealError):
        open_sealed(SEALED + SEALED[:length] + "x", KEY, "run", "cluster")


@pytest.mark.parametrize("public", ["", "x", encoded(b"short"), encoded(bytes(32)), encoded(bytes(33)), "ä"])
def test_text_that_is_not_a_public_key_is_refused(public: str) -> None:
    """With a key of zeros, each shared secret is zero."""
    with pytest.raises(SealError):
        seal(FILES, public, "run", "cluster")


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"tls.key": b"x"},
        {**FILES, "more": b"x"},
        {**FILES, "tls.key": bytes(handover.CREDENTIALS_LIMIT)},
    ],
)
def test_credentials_of_another_form_are_not_sealed(credentials: dict[str, bytes]) -> None:
    with pytest.raises(SealError):
        seal(credentials, PUBLIC, "run", "cluster")


def test_sealed_text_is_another_one_each_time_and_shows_nothing() -> None:
    texts = {seal(FILES, PUBLIC, "run", "cluster") for _ in range(3)}

    assert len(texts) == 3
    assert not any(name.encode() in base64.b64decode(text) for text in texts for name in FILES)


def lease(annotation: str, text: Any) -> dict[str, Any]:
    return {"metadata": {"annotations": {annotation: text}}}


REQUESTS = st.lists(
    st.builds(CredentialRequest, CLEAN_TEXT, CLEAN_TEXT), max_size=handover.AT_A_TIME, unique_by=lambda item: item.run
)
ANSWERS = st.lists(
    st.builds(CredentialAnswer, CLEAN_TEXT, CLEAN_TEXT, CLEAN_TEXT, st.sampled_from(["", "no package"])),
    max_size=handover.AT_A_TIME,
    unique_by=lambda item: item.run,
)


@given(REQUESTS)
def test_requests_survive_the_way(sent: list[CredentialRequest]) -> None:
    found = handover.requests_in(lease(handover.ANNOTATION_REQUESTS, handover.text_of(sent)))

    assert sorted(found) == sorted(sent)
    assert handover.text_of(sent) == handover.text_of(list(reversed(sent)))


@given(ANSWERS)
def test_answers_survive_the_way(sent: list[CredentialAnswer]) -> None:
    found = handover.answers_in(lease(handover.ANNOTATION_ANSWERS, handover.text_of(sent)))

    assert sorted(found) == sorted(sent)


@given(
    CLEAN_TEXT | json_values().map(str) | st.sampled_from(["[[1,2]]", "[[]]", '[["a","b","c"]]', "{}", "x" * 200_000])
)
def test_text_of_another_form_has_no_requests_and_no_answers(text: str) -> None:
    assert handover.requests_in(lease(handover.ANNOTATION_REQUESTS, text)) == ()
    assert handover.answers_in(lease(handover.ANNOTATION_ANSWERS, text)) == ()


def test_annotation_has_room_for_the_largest_answers() -> None:
    """Beside instructions and demand: Kubernetes refuses annotations of more than 256 KiB."""
    content = {**FILES, "tls.key": bytes(handover.CREDENTIALS_LIMIT * 3 // 4 - 150)}
    answers = [
        CredentialAnswer(f"{number:036}", PUBLIC, seal(content, PUBLIC, "run", "cluster"))
        for number in range(handover.AT_A_TIME)
    ]
    text = handover.text_of(answers)
    assert text is not None

    assert len(text) < 128 * 1024
    assert len(handover.answers_in(lease(handover.ANNOTATION_ANSWERS, text))) == handover.AT_A_TIME


def test_more_requests_than_are_served_are_not_read() -> None:
    sent = [CredentialRequest(f"uid-{number:02}", PUBLIC) for number in range(handover.AT_A_TIME + 5)]

    assert len(handover.requests_in(lease(handover.ANNOTATION_REQUESTS, handover.text_of(sent)))) == handover.AT_A_TIME

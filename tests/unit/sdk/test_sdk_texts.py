"""Texts of users in systems that do not accept every text."""

from __future__ import annotations

import json
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flowcluster import flow, tags, task
from flowcluster._util import texts
from flowcluster.cli import report
from flowcluster.context import get_run_context
from flowcluster.engine.caching.cached_run import task_input_hash
from flowcluster_api.driver import Outcome
from tests.support.strategies import TEXT


@given(TEXT)
def test_bytes_are_decoded_to_the_text(text: str) -> None:
    assert texts.from_bytes(texts.as_bytes(text)) == text


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3))
def test_digests_differ_for_different_texts(some: list[str], others: list[str]) -> None:
    assert (texts.digest(*some) == texts.digest(*others)) == (some == others)


@given(TEXT | st.just("\udc80" * 1_000_000), st.booleans())
def test_names_are_printable_and_short(text: str, in_ascii: bool) -> None:
    name = texts.as_name(text, in_ascii=in_ascii)

    assert name.isprintable()
    assert name.isascii() or not in_ascii
    assert len(name.encode()) <= 2400


@given(TEXT)
def test_names_of_ordinary_texts_are_unchanged(text: str) -> None:
    assert (texts.as_name(text) == text) == text.isprintable()


@given(TEXT)
def test_text_that_utf8_cannot_encode_is_found_in_each_place(text: str) -> None:
    found = None if texts.is_utf8(text) else text
    for value in (text, [1, text], {text: 1}, {"key": [(text,)]}, {text}):
        assert texts.first_not_utf8(value) == found


@given(TEXT)
def test_report_of_a_run_is_json_in_utf8(text: str) -> None:
    document = report.document(Outcome(state="Failed", reason="FlowFailed", message=text, exit_code=1), None, 1.0)

    # JSON has one escape for each half of a character, and so joins adjacent halves.
    assert json.loads(document.encode())["message"] == json.loads(json.dumps(text))


@settings(max_examples=40, deadline=None)
@given(TEXT.filter(bool))
def test_flows_on_threads_do_not_change_texts(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:

        @task(name=text, tags=[text], cache_key_fn=task_input_hash, result_storage=folder, description=text)
        def look(value: Any) -> Any:
            return get_run_context().tags, value

        @task(name=text)
        def fail() -> None:
            raise ValueError(text)

        @task(name=text)
        def outer() -> Any:
            return look.submit({text: [text]}).result()

        @flow(name=text, flow_run_name=lambda: text)
        def body() -> Any:
            with tags(text):
                first = look.submit({text: [text]}).result()
            return first, outer.submit().result(), fail.submit().result(raise_on_failure=False)

        first, again, error = body()

    assert first == again == ((text,), {text: [text]})
    assert error.args == (text,)

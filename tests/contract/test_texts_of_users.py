"""Texts that users choose: names, tags, keys, log lines and messages, with every character, on every task runner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from flowcluster import flow, get_run_logger, tags, task
from flowcluster.context import get_run_context
from flowcluster.states import State, StateType
from flowcluster.task_runners import DaskTaskRunner, TaskRunner
from tests.contract.kinds import IN_PROCESS
from tests.support.waiting import end_of

TEXTS = {
    "halves of pairs": "a\ud800b\udcff",
    "controls": "one\ntwo\r\nthree\u2028four\0five\x1b[2Jsix\x07\x7f",
    "scripts": "שלום\u202e مرحبا 😀é",
    "marks": "../a/b\\c//{}%s$(HOME)'\"`",
    "a megabyte": "n" * 1_000_000 + "\udcff",
}


class Error(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def look(text: str) -> dict[str, Any]:
    """Use `text` wherever a task can, and return where the task can read it."""
    run = get_run_context()
    get_run_logger().warning("line %s", text, extra={"field": text, "fields": {text: [text]}})
    logging.getLogger(f"flowcluster.{text[:1000]}").warning("by its name")
    return {"tags": run.tags, "run": run.name, text: text}


def fail(text: str) -> None:
    raise Error(text)


def same(value: Any) -> Any:
    return value


def end(text: str) -> State:
    return State(StateType.COMPLETED, text, text, name=text)


@task
def double(value: dict[str, Any]) -> list[Any]:
    return [value, value]


@pytest.mark.parametrize("what", TEXTS)
def test_runs_keep_each_text(runner: TaskRunner, what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The texts are names of tasks, flows and runs, tags, keys of results, log lines, exceptions, and states."""
    text = TEXTS[what]
    caplog.set_level(logging.INFO, "flowcluster")
    seen = task(name=text, tags=[text])(look)
    named = task(name=text, task_run_name="{text}", description=text, version=text)(look)
    failing = task(name=text, retries=1)(fail)
    ending = task(name=text)(end)

    @task(name=text)
    def outer() -> Any:
        return seen.submit(text).result(), inner()

    @flow(name=text)
    def inner() -> Any:
        return seen.submit(text).result()["tags"]

    ends: dict[str, State] = {}

    @flow(task_runner=runner, name=text, flow_run_name=lambda: text)
    def body() -> dict[str, Any]:
        ends.update(failed=end_of(failing.submit(text)), ended=end_of(ending.submit(text)))
        with tags(f"{text} and more"):
            first = seen.submit(text)
        return {
            "chained": double.submit(first).result(),
            "named": named.submit(text).result(),
            "mapped": task(name=text)(same).map([text, {text: 1}]).result(),
            "ended": ends["ended"].result(),
            "nested": outer.submit().result(),
        }

    found = body()

    assert found["chained"][0]["tags"] == (text, f"{text} and more")
    assert found["chained"][1][text] == text
    assert found["named"]["run"] == text
    assert isinstance(ends["failed"].data, Error)
    assert ends["failed"].data.text == text
    assert (ends["ended"].name, found["ended"]) == (text, text)
    assert found["mapped"] == [text, {text: 1}]
    assert found["nested"][0][text] == text
    assert found["nested"][1] == (text,)
    assert [record for record in caplog.records if record.getMessage().startswith("line ")]


@pytest.mark.parametrize("what", TEXTS)
def test_results_are_cached_under_each_text(runner: TaskRunner, what: str, tmp_path: Path) -> None:
    text = TEXTS[what]
    keep = task(name=text, cache_key_fn=lambda run, values: text, result_storage=str(tmp_path / "kept"))
    cached = keep(same)
    ends: list[State] = []

    @flow(task_runner=runner)
    def body() -> None:
        ends.extend(end_of(cached.submit(number)) for number in (1, 2))

    body()

    assert [(state.name, state.result()) for state in ends] == [("Completed", 1), ("Cached", 1)]


def test_annotations_that_dask_cannot_send_fail_their_run() -> None:
    dask = pytest.importorskip("dask")
    ends: list[State] = []

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=IN_PROCESS))
    def body() -> list[Any]:
        with dask.annotate(words=[{"\udc80": 1}]):
            ends.append(end_of(double.submit({})))
        return double.submit({}).result()

    assert body() == [{}, {}]
    assert "\\udc80" in str(ends[0].data)


def test_names_of_resources_must_be_sendable() -> None:
    with pytest.raises(ValueError, match=r"'.udc80'"):
        task(look).with_options(resources={"\udc80": 1})

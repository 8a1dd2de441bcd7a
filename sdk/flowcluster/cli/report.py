"""The outcome of a run as one JSON document on stdout, for programs: ``flowcluster run --json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from flowcluster import exact_json, texts
from flowcluster.engine.run import FlowRun
from flowcluster_api.driver import Outcome


def document(outcome: Outcome, run: FlowRun | None, seconds: float) -> str:
    """The document, in one line.

    Args:
        outcome: how the run ended.
        run: the flow run; None if there was none, as its flow was not found for instance.
        seconds: how long it lasted.
    """
    shown: dict[str, Any] = {
        "state": outcome.state,
        "reason": outcome.reason,
        "message": outcome.message,
        "name": run.name if run else None,
        "flow": run.flow_name if run else None,
        "result": None,
        "tasks": _tasks(run),
        "duration": round(seconds, 3),
        "exitCode": outcome.exit_code,
    }
    if run is not None and outcome.state == "Completed":
        try:
            shown["result"] = _plain(run.state.result())
        except ValueError as error:
            shown["resultError"] = f"The result cannot be written as JSON: {error}"
    return texts.escaped(json.dumps(shown, ensure_ascii=False, allow_nan=False))


def _tasks(run: FlowRun | None) -> dict[str, int]:
    names = ("total", "completed", "failed", "cancelled")
    return {name: getattr(run.tally, name) if run else 0 for name in names}


def _plain(value: object) -> Any:
    """The value in terms of JSON: models, dataclasses, sets, dates and the like as pydantic writes them.

    Raises ValueError for what JSON cannot say, or would change.
    """
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value)
    if (changed := exact_json.change(value) or exact_json.change(plain)) is not None:
        raise ValueError(f"result{changed}")
    return plain


@contextmanager
def stdout_of_our_own() -> Iterator[TextIO]:
    """In the block, what anybody writes to stdout goes to stderr, except through the file that is given.

    By its number and not by ``sys.stdout``, so that workers and other programs that tasks start keep to it.
    """
    sys.stdout.flush()
    own = os.dup(1)
    try:
        os.dup2(2, 1)
        with open(own, "w", encoding="utf-8", closefd=False) as file:
            yield file
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)

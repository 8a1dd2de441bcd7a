"""The outcome of a run as one JSON document on stdout, for programs: ``flowcluster run --json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from flowcluster._util import exact_json, texts
from flowcluster.engine.flow_run import FlowRun
from flowcluster_api.driver import Outcome


def document(outcome: Outcome, run: FlowRun | None, seconds: float) -> str:
    """Return the document, in one line.

    Args:
        outcome: the outcome of the run.
        run: the flow run; None if no run began, for example because the flow was not found.
        seconds: duration of the run.
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
    """Return a value as JSON has it: pydantic converts models, dataclasses, sets, dates and the like.

    Raises:
        ValueError: JSON cannot hold the value, or would change it.
    """
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value)
    if (changed := exact_json.change(value) or exact_json.change(plain)) is not None:
        raise ValueError(f"result{changed}")
    return plain


@contextmanager
def stdout_of_our_own() -> Iterator[TextIO]:
    """Redirect stdout to stderr for the time of the block; the block's value is a file that writes to stdout.

    The file descriptor is redirected, not ``sys.stdout``, so that this holds for workers and other programs, too.
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

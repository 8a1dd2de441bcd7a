"""Functions of users that are called when a run has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowcluster.logs import RunLogger
from flowcluster.options import Hook, thing_of
from flowcluster.states import State


def call_all(hooks: Iterable[Hook], spec: Any, run: Any, state: State, logger: RunLogger) -> None:
    """Call each with (task or flow, run, state). What one raises is logged; the run's state stays as it is."""
    for hook in hooks:
        try:
            hook(thing_of(spec), run, state)
        except Exception:
            name = getattr(hook, "__name__", repr(hook))
            logger.exception("The hook '%s' raised; the run's state stays %s:", name, state)

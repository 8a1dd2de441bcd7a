"""Functions of users that are called about a run: hooks at its end, and conditions."""

from __future__ import annotations

from collections.abc import Iterable
from types import CoroutineType
from typing import Any

from flowcluster import guarding
from flowcluster.logs import RunLogger
from flowcluster.options import Hook, thing_of
from flowcluster.portal import run_on_new_loop
from flowcluster.states import State


def call(function: Hook, spec: Any, run: Any, state: State) -> Any:
    """Call `function`, sync or async, with (task or flow, run, state); return or raise what it returns or raises."""
    value = function(thing_of(spec), run, state)
    return run_on_new_loop(value) if isinstance(value, CoroutineType) else value


def call_all(hooks: Iterable[Hook], spec: Any, run: Any, state: State, logger: RunLogger) -> None:
    """Call each with (task or flow, run, state). What one raises is logged; the run's state stays as it is.

    Raises only what a signal raised.
    """
    for hook in hooks:
        try:
            call(hook, spec, run, state)
        except BaseException as error:
            if guarding.is_interrupt(error):
                raise
            name = guarding.text_of(getattr(hook, "__name__", None) or guarding.repr_of(hook))
            logger.error("The hook '%s' raised; the run's state stays %s:", name, state, exc_info=error)

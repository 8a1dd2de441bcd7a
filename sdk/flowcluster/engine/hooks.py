"""Calls of users' hooks at the end of a run, and of users' conditions."""

from __future__ import annotations

from collections.abc import Iterable
from types import CoroutineType
from typing import Any

from flowcluster._output.logs import RunLogger
from flowcluster._util import guarding
from flowcluster._util.portal import run_on_new_loop
from flowcluster.engine.options import Hook
from flowcluster.engine.spec_registry import thing_of
from flowcluster.states import State


def call_hook(function: Hook, spec: Any, run: Any, state: State) -> Any:
    """Call `function`, sync or async, with (task or flow, run, state), and return what it returns."""
    value = function(thing_of(spec), run, state)
    return run_on_new_loop(value) if isinstance(value, CoroutineType) else value


def call_hooks(hooks: Iterable[Hook], spec: Any, run: Any, state: State, logger: RunLogger) -> None:
    """Call each hook with (task or flow, run, state). Log the exception of a hook: it does not change the state.

    Raises only what a signal raised.
    """
    for hook in hooks:
        try:
            call_hook(hook, spec, run, state)
        except BaseException as error:
            if guarding.is_interrupt(error):
                raise
            name = guarding.text_of(getattr(hook, "__name__", None) or guarding.repr_of(hook))
            logger.error("The hook '%s' raised; the run's state stays %s:", name, state, exc_info=error)

"""Retries of tasks and flows: whether a run that did not complete is executed again, and after which delay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowcluster import errors
from flowcluster._output.logs import RunLogger
from flowcluster._util import guarding
from flowcluster._util.waiting import WaitStrategy
from flowcluster.engine import hooks
from flowcluster.engine.run_spec import RunSpec
from flowcluster.states import State, StateType


def is_retriable(state: State) -> bool:
    """Return whether a retry can help: the run failed or lost its worker, and was not cancelled."""
    if state.type is not StateType.FAILED and state.type is not StateType.CRASHED:
        return False
    # A retry cannot use a lost cluster; sys.exit and signals end the program.
    return not isinstance(state.data, errors.ClusterError | SystemExit | KeyboardInterrupt)


def retry_delay(spec: RunSpec, retry: int, run: Any, state: State, logger: RunLogger) -> float | None:
    """Return the seconds until retry number `retry`, from 1, of a run that ended in `state`; None for no retry."""
    if spec.retry_condition is not None:
        try:
            if not hooks.call_hook(spec.retry_condition, spec, run, state):
                return None
        except BaseException as error:
            if guarding.is_interrupt(error):
                raise
            logger.error("retry_condition raised, so '%s' is not tried again:", run.name, exc_info=error)
            return None
    seconds = spec.retry_delays[min(retry, len(spec.retry_delays)) - 1]
    if spec.retry_jitter_factor:
        import random

        seconds *= 1 + random.uniform(0, spec.retry_jitter_factor)
    return seconds


async def retry_delay_async(
    spec: RunSpec, retry: int, run: Any, state: State, logger: RunLogger, strategy: WaitStrategy
) -> float | None:
    """Return what `retry_delay` returns. The user's condition is called where it does not block an event loop."""
    if spec.retry_condition is None:
        return retry_delay(spec, retry, run, state, logger)
    return await strategy.run_sync(lambda: retry_delay(spec, retry, run, state, logger))


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Return delays for ``retry_delay_seconds`` that double with each retry.

    Args:
        backoff_factor: seconds before the first retry.
    """
    if backoff_factor <= 0:
        raise ValueError(f"backoff_factor must be more than 0, not {backoff_factor}.")
    return lambda retries: [backoff_factor * 2**retry for retry in range(retries)]

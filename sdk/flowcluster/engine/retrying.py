"""Whether a run that did not complete is executed again, and when. Shared by tasks and flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flowcluster import errors, guarding
from flowcluster.engine import hooks
from flowcluster.logs import RunLogger
from flowcluster.states import State, StateType
from flowcluster.waiting import Colour


class Retrying(Protocol):
    """The options that say so; `TaskSpec` and `FlowSpec` have them."""

    @property
    def retry_delays(self) -> tuple[float, ...]:
        """Seconds before each retry; the last one is repeated."""

    @property
    def retry_jitter_factor(self) -> float | None:
        """Lengthens each delay by a random part of up to so many times itself."""

    @property
    def retry_condition(self) -> Callable[[Any, Any, Any], object] | None:
        """Called with (task or flow, run, state); a retry takes place only if it gives true."""


def is_retriable(state: State) -> bool:
    """Whether trying again could help: the run failed or its worker was lost, and nobody asked for its end."""
    if state.type is not StateType.FAILED and state.type is not StateType.CRASHED:
        return False
    # A lost cluster is not there for a second try either; sys.exit and signals mean the whole program.
    return not isinstance(state.data, errors.ClusterError | SystemExit | KeyboardInterrupt)


def delay(spec: Retrying, retry: int, run: Any, state: State, logger: RunLogger) -> float | None:
    """Seconds until retry number `retry` (from 1) of a run that ended in `state`; None for no retry."""
    if spec.retry_condition is not None:
        try:
            if not hooks.call(spec.retry_condition, spec, run, state):
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


async def delay_after(
    spec: Retrying, retry: int, run: Any, state: State, logger: RunLogger, colour: Colour
) -> float | None:
    """Return what `delay` returns; it calls the user's condition where that holds up no event loop."""
    if spec.retry_condition is None:
        return delay(spec, retry, run, state, logger)
    return await colour.call(lambda: delay(spec, retry, run, state, logger))


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """For ``retry_delay_seconds``: the factor in seconds before the first retry, twice as long before each next."""
    if backoff_factor <= 0:
        raise ValueError(f"backoff_factor must be more than 0, not {backoff_factor}.")
    return lambda retries: [backoff_factor * 2**retry for retry in range(retries)]

"""The base of `TaskSpec` and `FlowSpec`: the fields that both have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from flowcluster.engine.options import Hook


# Without a constructor: only the subclasses are instantiated.
@dataclasses.dataclass(frozen=True, init=False, eq=False, repr=False, kw_only=True)
class RunSpec:
    """A function and the options that tasks and flows have in common, checked. `RunOptions` describes the options.

    Attributes:
        function: what the task or flow runs.
        name: name of the task or flow.
        is_async: whether the function is a coroutine function.
        retry_delays: seconds before each retry; the last one is repeated.
        timeout: seconds that one execution can take.
        run_name: template of the runs' names, or a function that returns one.
    """

    function: Callable[..., Any]
    name: str
    is_async: bool
    tags: tuple[str, ...] = ()
    retries: int = 0
    retry_delays: tuple[float, ...] = (0.0,)
    retry_jitter_factor: float | None = None
    retry_condition: Hook | None = None
    timeout: float | None = None
    run_name: str | Callable[[], str] | None = None
    log_prints: bool | None = None
    on_completion: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    description: str | None = None
    version: str | None = None

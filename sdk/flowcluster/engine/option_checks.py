"""Checks of the options of tasks and flows. Each returns the value in the form that the engine uses.

All raise TypeError or ValueError with the option's name, the value and what is expected.
"""

from __future__ import annotations

import datetime
import math
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcluster._util.suggestions import closest
from flowcluster._util.texts import is_utf8

Check = Callable[[str, Any], Any]

_KEPT_RESULTS = "cache_key_fn=task_input_hash and result_storage keep results of tasks."

#: Options of other workflow tools, and what to use instead.
_ELSEWHERE = {
    "persist_result": _KEPT_RESULTS,
    "cache_policy": _KEPT_RESULTS,
    "result_storage_key": _KEPT_RESULTS,
    "result_storage": "give it to tasks, set FLOWCLUSTER_RESULT_STORAGE, or submit the flow with --result-storage.",
    "result_serializer": "results are pickled, by cloudpickle where pickle cannot.",
    "cache_result_in_memory": "results are kept as long as their future, or the state of the run, is.",
    "retry_condition_fn": "it is called retry_condition here.",
    "on_running": "get_run_logger() or a line at the beginning of the function reports that it runs.",
    "on_commit": "on_completion is called when a run has completed.",
    "on_rollback": "on_failure is called when a run has failed.",
    "on_crashed": "on_failure is called when a task run has crashed, too.",
    "on_cancellation": "add_done_callback of the future is called when a task run was cancelled, too.",
    "viz_return_value": "there are no drawings of flows.",
    "asset_deps": "wait_for orders task runs, and tags mark them.",
}


def known(what: str, options: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise TypeError for the first option that does not exist, with the closest one that does."""
    names = list(allowed)
    for name in options:
        if name in names:
            continue
        if name in _ELSEWHERE:
            raise TypeError(f"@{what} has no option {name!r}: {_ELSEWHERE[name]}")
        hint = closest(name, names) or f"; there are: {', '.join(names)}"
        raise TypeError(f"@{what} has no option {name!r}{hint}.")


def optional(check: Check) -> Check:
    """Return the check, extended to accept None."""
    return lambda option, value: None if value is None else check(option, value)


def text(option: str, value: Any) -> str:
    """Check for a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{option} must be a string that is not empty, not {value!r}.")
    return value


def description(option: str, value: Any) -> str:
    """Check for a string, which can be empty."""
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a string, not {value!r}.")
    return value


def flag(option: str, value: Any) -> bool:
    """Check for True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{option} must be True or False, not {value!r}.")
    return value


def count(option: str, value: Any) -> int:
    """Check for a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} must be a whole number, not {value!r}.")
    if value < 0:
        raise ValueError(f"{option} must be at least 0, not {value}.")
    return value


def seconds(option: str, value: Any) -> float:
    """Check for a finite number from 0, and convert a timedelta to seconds."""
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{option} must be a number, not {value!r}.")
    if not 0 <= value < math.inf:
        raise ValueError(f"{option} must be at least 0, not {value}.")
    return float(value)


def positive(option: str, value: Any) -> float:
    """Check for a finite number above 0."""
    number = seconds(option, value)
    if number == 0:
        raise ValueError(f"{option} must be more than 0; leave it out for no limit.")
    return number


def delays(option: str, value: Any, retries: int) -> tuple[float, ...]:
    """Return delays in seconds: from one number, a list, or a function of the number of retries."""
    if callable(value):
        value = value(count("retries", retries))
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return (seconds(option, value),)
    numbers = tuple(seconds(option, item) for item in value)
    return numbers or (0.0,)


def function(option: str, value: Any) -> Callable[..., Any]:
    """Check for a callable."""
    if not callable(value):
        raise TypeError(f"{option} must be a function, not {value!r}.")
    called: Callable[..., Any] = value
    return called


def functions(option: str, value: Any) -> tuple[Callable[..., Any], ...]:
    """Return functions, which are given as an iterable or as one function."""
    if value is None:
        return ()
    items = (value,) if callable(value) else tuple(value)
    return tuple(function(option, item) for item in items)


def tags(option: str, value: Any) -> tuple[str, ...]:
    """Return words in sorted order, each once."""
    if value is None:
        return ()
    if isinstance(value, str):
        raise TypeError(f"{option} must be a list of strings, not the string {value!r}.")
    return tuple(sorted({text(option, item) for item in value}))


def name_template(option: str, value: Any) -> str | Callable[[], str]:
    """Check for a valid format string, or a function."""
    if callable(value):
        return function(option, value)
    try:
        list(string.Formatter().parse(text(option, value)))
    except ValueError as error:
        raise ValueError(f"{option} is not a template, such as 'load-{{table}}': {value!r} ({error}).") from None
    return str(value)


def resources(option: str, value: Any) -> dict[str, float]:
    """Return amounts above 0, by the names of resources."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{option} must be a mapping such as {{'GPU': 1}}, not {value!r}.")
    for name in value:
        if not is_utf8(text(option, name)):
            raise ValueError(f"{option} has the name {name!r}, with a character that UTF-8 does not have.")
    return {name: positive(f"{option}[{name!r}]", amount) for name, amount in value.items()}

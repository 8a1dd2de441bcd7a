"""The arguments of ``adapt``: bounds and durations, with Dask's names where Dask has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster.agent.protocol import Adapt

#: More workers than any operator allows: the administrator's limit applies.
UNLIMITED = 10_000

#: Arguments of Dask's own adaptive scaling that `parse_adapt` refuses, with the reasons.
_REFUSED = {
    "Adaptive": "the operator scales the cluster, not a class of Dask",
    "worker_key": "a pod holds one worker",
    "cluster": "it is this one",
}


class AdaptRequest(NamedTuple):
    """The bounds, as numbers of workers, and the request to the agent."""

    minimum: int
    maximum: int
    agent: Adapt


def parse_adapt(address: str, worker: Mapping[str, Any], given: Mapping[str, Any]) -> AdaptRequest:
    """Return the request of ``adapt(**given)``.

    ``minimum`` and ``maximum`` are numbers of workers. ``minimum_cores``, ``maximum_cores``, ``minimum_memory`` and
    ``maximum_memory`` are bounds of the threads and of the memory of all workers together. Without a maximum, or with
    None, the limit of the operator's administrator applies.

    Durations are seconds, or texts such as ``"500ms"``. ``interval`` is the time between two polls of the scheduler.
    All work of known duration should end within ``target_duration``. More or fewer workers must be needed for
    ``up_delay`` or ``down_delay`` before the number changes. A worker must have had no work for ``idle`` before it is
    removed. Dask's ``wait_count`` is ``idle`` in intervals.

    Args:
        address: of the scheduler, as seen from this machine.
        worker: ``spec.cluster.workers`` of the FlowRun.
        given: the keyword arguments.

    Raises:
        TypeError: an argument does not exist; the message names it.
        ValueError: an argument has an invalid value; the message names it.
    """
    for name, why in _REFUSED.items():
        if name in given:
            raise TypeError(f"adapt() does not accept {name!r} here: {why}.")
    low, high, left = parse_bounds(worker, given)
    interval = _seconds("interval", left.pop("interval", None), 1.0)
    wait_count = _count("wait_count", left.pop("wait_count", None))
    idle = _seconds("idle", left.pop("idle", None), 5.0 if wait_count is None else wait_count * interval)
    request = Adapt(
        address,
        interval=max(interval, 0.1),
        target_duration=max(_seconds("target_duration", left.pop("target_duration", None), 5.0), 0.001),
        up_delay=_seconds("up_delay", left.pop("up_delay", None), 0.0),
        down_delay=_seconds("down_delay", left.pop("down_delay", None), 5.0),
        idle_seconds=idle,
    )
    if left:
        raise TypeError(f"adapt() does not know {', '.join(map(repr, sorted(left)))}.")
    return AdaptRequest(low, high, request)


def parse_bounds(worker: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[int, int, dict[str, Any]]:
    """Return the minimum and maximum of workers in `given`, and its other arguments. See `parse_adapt`."""
    left = dict(given)
    threads = int(worker.get("threads") or 1)
    minimum = _count("minimum", left.pop("minimum", None))
    maximum = _count("maximum", left.pop("maximum", None))
    for name, size, parse in (("cores", threads, _cores), ("memory", _memory(worker), _bytes)):
        for bound, round_up in (("minimum", math.ceil), ("maximum", math.floor)):
            amount = left.pop(f"{bound}_{name}", None)
            if amount is None or (bound == "maximum" and amount == math.inf):
                continue
            if size is None:
                raise ValueError(f"{bound}_{name} needs workers with a memory limit: resources={{'limits': ...}}.")
            workers = round_up(parse(f"{bound}_{name}", amount) / size)
            if bound == "minimum":
                minimum = max(minimum or 0, min(workers, UNLIMITED))
            else:
                maximum = min(UNLIMITED if maximum is None else maximum, workers)
    low, high = minimum or 0, UNLIMITED if maximum is None else maximum
    if low > high:
        raise ValueError(f"adapt(): minimum ({low} workers) is greater than maximum ({high} workers).")
    return low, high, left


def check_number(n: Any) -> None:
    """Raise ValueError if `n` is not a valid number of workers."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ValueError(f"A cluster cannot have {n!r} workers; give a whole number, 0 or more.")


def _count(name: str, value: Any) -> int | None:
    if value is None or value == math.inf:
        return None
    if not _is_amount(value) or value != int(value):
        raise ValueError(f"adapt(): {name} must be a whole number, 0 or more, not {value!r}.")
    return min(int(value), UNLIMITED)


def _seconds(name: str, value: Any, default: float) -> float:
    from dask.utils import parse_timedelta

    if value is None:
        return default
    try:
        seconds = float(parse_timedelta(value, default="s"))
    except (KeyError, ValueError, TypeError, AttributeError):
        seconds = -1.0
    if not seconds >= 0:  # also for nan
        raise ValueError(f"adapt(): {name} must be a duration such as 5 or '500ms', not {value!r}.")
    return seconds


def _cores(name: str, value: Any) -> float:
    if not _is_amount(value):
        raise ValueError(f"adapt(): {name} must be a number of threads, 0 or more, not {value!r}.")
    return float(value)


def _bytes(name: str, value: Any) -> float:
    from dask.utils import parse_bytes

    try:
        number = float(parse_bytes(value))
    except (ValueError, TypeError, AttributeError, OverflowError):
        number = -1.0
    if number < 0:
        raise ValueError(f"adapt(): {name} must be an amount of memory such as '16 GiB', not {value!r}.")
    return number


def _is_amount(value: Any) -> bool:
    """Return whether a value is a finite number, 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _memory(worker: Mapping[str, Any]) -> float | None:
    """Return the bytes that a worker can use; None without a limit, which Kubernetes also writes as 0."""
    limit = ((worker.get("resources") or {}).get("limits") or {}).get("memory")
    if limit is None:
        return None
    text, name = str(limit), "resources['limits']['memory']"
    if text.endswith("m"):  # thousandths, a suffix that only Kubernetes has
        return _bytes(name, text[:-1]) / 1000 or None
    # Kubernetes writes Gi where Dask writes GiB. G means the same in both.
    return _bytes(name, text + "B" if text[-1:].isalpha() else text) or None

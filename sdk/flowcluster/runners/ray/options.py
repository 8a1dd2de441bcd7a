"""The options of task runs for Ray, and whether a cluster has the resources that they request.

``with remote_options(num_gpus=1): train.submit(data)``
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from flowcluster.runners.base import Task
from flowcluster_api.offers import Offers

#: Ray's own resources, and the options that request them.
_OPTION_OF = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}

#: Options that the runner sets itself, with the reasons.
_RESERVED = {
    "num_returns": "a task run has one result",
    "retry_exceptions": "retries are an option of the task",
    "max_calls": "Ray accepts it only in the definition of a function",
    "name": "a task run has its own name",
}

#: Ends of the message that no node has the requested resources.
_MORE_NODES = ", and the cluster does not start nodes by itself. Request less, or add a node."
_MORE_WORKERS = (
    ", and no worker that it starts will. Request less, or other workers: threads, resources or taskResources in "
    "spec.cluster.workers, or in cluster_kwargs['workers']."
)

#: Seconds for which a list of the cluster's nodes is valid.
FRESH = 2.0

_NONE: Mapping[str, Any] = MappingProxyType({})
_options: ContextVar[Mapping[str, Any]] = ContextVar("flowcluster_ray_options", default=_NONE)


@contextmanager
def remote_options(**options: Any) -> Iterator[None]:
    """Set Ray's options for the tasks that are submitted in the block to a `RayTaskRunner`.

    They are those of ``ray.remote``: ``num_cpus``, ``num_gpus``, ``memory``, ``resources``, ``scheduling_strategy`` and
    so on. A block inside another one adds its options. An inner option replaces the outer one with the same name, and
    ``resources`` are merged by name. ``max_retries`` is used for tasks without retries of their own.

    Raises:
        ValueError: the runner sets an option itself.
    """
    for name, reason in _RESERVED.items():
        if name in options:
            raise ValueError(f"remote_options cannot set {name}: {reason}.")
    token = _options.set(_merged(_options.get(), options))
    try:
        yield
    finally:
        _options.reset(token)


def current() -> Mapping[str, Any]:
    """Return the options of the blocks around the caller."""
    return _options.get()


def options_for(spec: Task) -> Mapping[str, Any]:
    """Return the options of a run at its submission: the task's resources, and the options of the blocks around it."""
    of_task: dict[str, Any] = {}
    for name, amount in (getattr(spec, "resources", None) or {}).items():
        if name in _OPTION_OF:
            of_task[_OPTION_OF[name]] = amount
        else:
            of_task.setdefault("resources", {})[name] = amount
    options = _merged(of_task, current())
    options.pop("max_retries", None)
    return options


def _merged(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**outer, **inner}
    if outer.get("resources") and inner.get("resources"):
        merged["resources"] = {**outer["resources"], **inner["resources"]}
    return merged


def requested_by(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the amount of each resource that a run with these options requests."""
    requested: dict[str, float] = {"CPU": 1.0, **(options.get("resources") or {})}
    for resource, option in _OPTION_OF.items():
        if options.get(option) is not None:
            requested[resource] = options[option]
    return {name: float(amount) for name, amount in requested.items() if amount}


class Capacity:
    """The resources of a cluster's nodes, to detect requests that no node can ever satisfy.

    Args:
        is_fixed: whether the cluster is known not to start nodes by itself. If not, the head is queried.
        offers: resources of each node that the cluster can start; None if they are unknown.
        now: returns the time in seconds.
    """

    def __init__(self, is_fixed: bool, offers: Offers | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._is_fixed = is_fixed
        self._offers = offers
        self._now = now
        self._lock = threading.Lock()
        self._listed_at = -FRESH
        self._nodes: list[dict[str, float]] = []

    def unmet(self, options: Mapping[str, Any]) -> str | None:
        """Return why no node can ever run a task with these options; None if a current or future node can."""
        # Only Ray can evaluate options that also request a place.
        if "scheduling_strategy" in options or "placement_group" in options:
            return None
        with self._lock:
            if self._now() - self._listed_at >= FRESH:
                self._list_nodes()
            return unmet(requested_by(options), self._nodes, self._is_fixed, self._offers)

    def _list_nodes(self) -> None:
        import ray

        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._listed_at = self._now()
        self._is_fixed = self._is_fixed or (self._offers is None and _does_not_scale())


def unmet(
    requested: Mapping[str, float], nodes: Sequence[Mapping[str, float]], is_fixed: bool, offers: Offers | None
) -> str | None:
    """Return why no node can ever have the requested resources; None if a current or future node has them.

    Args:
        requested: amounts by the name of the resource.
        nodes: the resources of each node.
        is_fixed: whether the cluster starts no nodes by itself.
        offers: resources of each node that the cluster can start. If they are unknown (None), a cluster that is not
            fixed can start any node.
    """
    kinds = [] if offers is None else [{name: math.inf if n is None else n for name, n in offers.items()}]
    some = [*nodes, *kinds]
    if any(_has(node, requested) for node in some) or not (is_fixed or kinds):
        return None
    return _explain(requested, some, _MORE_WORKERS if kinds else _MORE_NODES)


def _has(node: Mapping[str, float], requested: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in requested.items())


def _does_not_scale() -> bool:
    """Return whether the head reports that no autoscaler starts nodes; False while that is unknown."""
    from ray.experimental import internal_kv

    status = internal_kv._internal_kv_get(b"__autoscaling_status")
    if not status or internal_kv._internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"__autoscaler") == b"1":
        return False
    try:
        report = json.loads(status)["autoscaler_report"]
        # A monitor without an autoscaler reports a type for each node that contains the node's id.
        kinds = [*report["active_nodes"], *report["pending_launches"], *(report["idle_nodes"] or ())]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(kinds) and all(kind.startswith("node_") for kind in kinds)


def _explain(requested: Mapping[str, float], nodes: Sequence[Mapping[str, float]], advice: str) -> str:
    requests = ", ".join(f"{amount:g} {name}" for name, amount in requested.items())
    short = []
    for name, amount in requested.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if most < amount:
            short.append(f"{most:g} {name}")
    have = f"No node has more than {', '.join(short)}" if short else "No node has all of that together"
    return f"No node of the Ray cluster can ever run this task, which requests {requests}. {have}{advice}"

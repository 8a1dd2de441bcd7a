"""What task runs ask of Ray, and whether a cluster has it.

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

from flowcluster.options import TaskSpec
from flowcluster_api.offers import Offers

#: Ray's own resources, and the options that ask for them.
_OPTION_OF = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}

#: Options that the runner decides about itself, and why.
_NOT_OURS = {
    "num_returns": "a task run has one result",
    "retry_exceptions": "retries are an option of the task",
    "max_calls": "Ray takes it only where a function is defined",
    "name": "a task run has its own name",
}

#: How the explanation goes on that no node has so much.
_MORE_NODES = ", and the cluster does not start nodes by itself. Ask for less, or add a node."
_MORE_WORKERS = (
    ", and no worker that it starts will. Ask for less, or for other workers: threads, resources or taskResources in "
    "spec.cluster.workers, or in cluster_kwargs['workers']."
)

#: Seconds for which a look at the cluster's nodes is good.
FRESH = 2.0

_NONE: Mapping[str, Any] = MappingProxyType({})
_options: ContextVar[Mapping[str, Any]] = ContextVar("flowcluster_ray_options", default=_NONE)


@contextmanager
def remote_options(**options: Any) -> Iterator[None]:
    """Ray's options for the tasks that are submitted in the block to a `RayTaskRunner`.

    ``num_cpus``, ``num_gpus``, ``memory``, ``resources``, ``scheduling_strategy`` and so on, as for
    ``ray.remote``. Blocks inside of each other add to each other, the inner one comes first; ``resources``
    are added name by name. ``max_retries`` counts for tasks that set no retries. Raises ValueError for
    an option that the runner decides about.
    """
    for name, reason in _NOT_OURS.items():
        if name in options:
            raise ValueError(f"remote_options cannot set {name}: {reason}.")
    token = _options.set(_merged(_options.get(), options))
    try:
        yield
    finally:
        _options.reset(token)


def current() -> Mapping[str, Any]:
    """The options of the blocks around the code."""
    return _options.get()


def options_for(spec: TaskSpec) -> Mapping[str, Any]:
    """The options of a run that is submitted now: the task's resources, and those of the blocks around."""
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


def demand(options: Mapping[str, Any]) -> dict[str, float]:
    """How much of each resource a run with these options takes up."""
    asked: dict[str, float] = {"CPU": 1.0, **(options.get("resources") or {})}
    for resource, option in _OPTION_OF.items():
        if options.get(option) is not None:
            asked[resource] = options[option]
    return {name: float(amount) for name, amount in asked.items() if amount}


class Capacity:
    """What the nodes of a cluster have, to tell requests that none of them can ever meet.

    Args:
        is_fixed: whether the cluster is known not to start nodes by itself; else its head is asked.
        offers: what each node has that the cluster may start, where that is known.
    """

    def __init__(self, is_fixed: bool, offers: Offers | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._is_fixed = is_fixed
        self._offers = offers
        self._now = now
        self._lock = threading.Lock()
        self._looked = -FRESH
        self._nodes: list[dict[str, float]] = []

    def unmet(self, options: Mapping[str, Any]) -> str | None:
        """Why no node will ever run a task with these options; None if one can, or might start."""
        # Asked for a place as well as for resources, it is for Ray to find out.
        if "scheduling_strategy" in options or "placement_group" in options:
            return None
        with self._lock:
            if self._now() - self._looked >= FRESH:
                self._look()
            return unmet(demand(options), self._nodes, self._is_fixed, self._offers)

    def _look(self) -> None:
        import ray

        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._looked = self._now()
        self._is_fixed = self._is_fixed or (self._offers is None and _does_not_scale())


def unmet(
    asked: Mapping[str, float], nodes: Sequence[Mapping[str, float]], is_fixed: bool, offers: Offers | None
) -> str | None:
    """Why nothing will ever have what is `asked`, neither one of `nodes` nor one that is started; None if it may.

    `offers` is what each node has that may be started. A cluster that tells of none starts none if it `is_fixed`, and
    else any.
    """
    kinds = [] if offers is None else [{name: math.inf if n is None else n for name, n in offers.items()}]
    some = [*nodes, *kinds]
    if any(_has(node, asked) for node in some) or not (is_fixed or kinds):
        return None
    return _explain(asked, some, _MORE_WORKERS if kinds else _MORE_NODES)


def _has(node: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in asked.items())


def _does_not_scale() -> bool:
    """Whether the cluster's head says that nobody starts nodes for it; False as long as that is not known."""
    from ray.experimental import internal_kv

    status = internal_kv._internal_kv_get(b"__autoscaling_status")
    if not status or internal_kv._internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"__autoscaler") == b"1":
        return False
    try:
        report = json.loads(status)["autoscaler_report"]
        # A monitor that only looks on makes up a type for each node, from the node's id.
        kinds = [*report["active_nodes"], *report["pending_launches"], *(report["idle_nodes"] or ())]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(kinds) and all(kind.startswith("node_") for kind in kinds)


def _explain(asked: Mapping[str, float], nodes: Sequence[Mapping[str, float]], advice: str) -> str:
    wanted = ", ".join(f"{amount:g} {name}" for name, amount in asked.items())
    short = []
    for name, amount in asked.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if most < amount:
            short.append(f"{most:g} {name}")
    have = f"No node has more than {', '.join(short)}" if short else "No node has all of that together"
    return f"No node of the Ray cluster can ever run this task, which asks for {wanted}. {have}{advice}"

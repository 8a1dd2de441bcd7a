"""The resources that each worker of a run's Ray cluster offers to tasks, by Ray's names.

They follow from the spec, so the driver knows them before a worker runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowcluster_api import names

#: Amounts by resource; None for an amount that only the worker itself can measure.
Offers = dict[str, float | None]

#: Offers as JSON: an environment variable of the run's driver and of its Ray workers.
ENV = "FLOWCLUSTER_CLUSTER_OFFERS"


def offers(workers: Mapping[str, Any]) -> Offers:
    """Return the resources of each worker. A worker does not have a resource that is not listed.

    The number of GPUs is the sum of all limits whose names end with ``gpu``, as in KubeRay. It is None where the
    template changes the worker's resources: that can add any number of GPUs.

    Args:
        workers: ``spec.cluster.workers``.
    """
    # Not at the top: each program that imports the SDK imports this module, and `fractions` takes milliseconds.
    from flowcluster_api import quantities

    found: Offers = {"CPU": float(workers.get("threads") or 1), "memory": None, "object_store_memory": None}
    found |= {name: float(amount) for name, amount in (workers.get("taskResources") or {}).items()}
    if "GPU" not in found:
        limits = (workers.get("resources") or {}).get("limits") or {}
        gpus = sum(quantities.whole(amount) for name, amount in limits.items() if name.endswith("gpu"))
        found["GPU"] = None if _has_other_resources(workers) else float(gpus)
    return found


def _has_other_resources(workers: Mapping[str, Any]) -> bool:
    containers: Any = workers.get("template")
    for field in ("spec", "containers"):
        containers = containers.get(field) if isinstance(containers, Mapping) else None
    items = [item for item in containers if isinstance(item, Mapping)] if isinstance(containers, list) else []
    return any(item.get("name") == names.COMPONENT_WORKER and item.get("resources") for item in items)


def to_env(workers: Mapping[str, Any]) -> str:
    """Return the value of `ENV` for workers of ``spec.cluster.workers``."""
    return json.dumps(offers(workers))


def from_env(environment: Mapping[str, str]) -> Offers | None:
    """Return the offers in an environment; None where it has none."""
    text = environment.get(ENV)
    return None if text is None else json.loads(text)

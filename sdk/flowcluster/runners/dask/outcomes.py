"""What becomes of a task run that did not come to its end on a Dask cluster, in words for people."""

from __future__ import annotations

from typing import Any

from distributed.core import clean_exception

from flowcluster import states
from flowcluster.states import State

#: The news that can be the first sign of a cluster that is being deleted.
LOSSES = frozenset({"worker lost", "inputs lost", "gone"})


def of_news(kind: str, *details: Any) -> State:
    """The final state of a run of which the scheduler's plugin told `kind`, with what it told besides."""
    if kind == "worker lost":
        return states.crashed(
            f"Task run lost its worker {details[0]}: that went away while the task ran. If nobody stopped it, it may "
            "have run out of memory; its log tells more."
        )
    if kind == "inputs lost":
        return states.crashed(
            f"Task run was broken off at {details[0]}: the worker that had its input was lost, or somebody cancelled "
            "it on the cluster."
        )
    if kind == "no such worker":
        return states.failed(_unmet(*details))
    _, error, _ = clean_exception(details[1])
    return states.crashed(f"Dask gave the task run up: {states.describe(error)}", error)


def _unmet(asked: dict[str, float], offers: dict[str, dict[str, float]]) -> str:
    wanted = ", ".join(f"{need:g} {name}" for name, need in asked.items())
    offered = "; ".join(
        f"{worker}: {', '.join(f'{have:g} {name}' for name, have in resources.items()) or 'none'}"
        for worker, resources in offers.items()
    )
    return (
        f"No worker of the cluster can run this task: it asks for resources {wanted}, and the workers offer {offered}. "
        "Ask for less, or start workers with these resources."
    )

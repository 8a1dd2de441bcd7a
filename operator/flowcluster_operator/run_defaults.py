"""An administrator's defaults for all runs and shared clusters: the chart's value `runs`."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any


class DefaultsError(ValueError):
    """The text is not a JSON object with the fields of `RunDefaults`."""


@dataclasses.dataclass(frozen=True)
class RunDefaults:
    """Defaults of runs and shared clusters. A FlowRun or SharedCluster, and its templates, override them.

    Attributes:
        labels: labels of all objects of a run.
        annotations: annotations of all objects of a run.
        imagePullSecrets: names of Secrets in the namespace of a run.
        nodeSelector: of all pods.
        tolerations: of all pods, besides those of templates.
        priorityClassName: of all pods; empty for none.
        resources: requests and limits by the name of a container: driver, scheduler, head, worker, relay, autoscaler.
    """

    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    imagePullSecrets: list[str] = dataclasses.field(default_factory=list)
    nodeSelector: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    priorityClassName: str = ""
    resources: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)


@functools.lru_cache(maxsize=4)
def run_defaults(text: str) -> RunDefaults:
    """Parse defaults from JSON; an empty text has none.

    Raises:
        DefaultsError: the text is not a JSON object with the fields of `RunDefaults`.
    """
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise DefaultsError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise DefaultsError("not a JSON object")
    fields = {field.name: field for field in dataclasses.fields(RunDefaults)}
    for name, value in values.items():
        if name not in fields:
            raise DefaultsError(f"unknown field {name}")
        expected = {"imagePullSecrets": list, "tolerations": list, "priorityClassName": str}.get(name, dict)
        if not isinstance(value, expected):
            raise DefaultsError(f"{name} must be a {expected.__name__}")
    return RunDefaults(**values)

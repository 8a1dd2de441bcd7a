"""How the driver of a run requests a child run: a separate cluster for a part of the flow.

A driver has no right to create or change FlowRuns. It writes a request into the Lease of its own run: one annotation
for each child run. The operator creates or changes the child run within the bounds of the parent, and removes the
annotation. Where the operator refuses, it writes the reason into the annotation, and the driver removes the annotation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster_api import names

#: Prefix of the annotations; the name of the child run follows.
PREFIX = f"child.{names.GROUP}/"
#: Maximum characters of a request that the operator reads.
REQUEST_LIMIT = 16_384


class Request(NamedTuple):
    """A driver's request about one child run. One field besides `text` is set; none where the text cannot be parsed.

    Attributes:
        text: the annotation's value.
        spec: create the child run with this spec.
        bounds: set its minimum and maximum of workers; the maximum can be None.
        cancel: end the child run.
        refused: the operator's answer: why it refuses the request.
    """

    text: str
    spec: dict[str, Any] | None = None
    bounds: tuple[int, int | None] | None = None
    cancel: bool = False
    refused: str | None = None


def create(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch of the parent's Lease that requests a child run."""
    return _annotated(name, {"spec": spec})


def resize(name: str, minimum: int, maximum: int | None) -> dict[str, Any]:
    """Return the merge patch of the parent's Lease that requests other bounds of workers."""
    return _annotated(name, {"bounds": [minimum, maximum]})


def cancel(name: str) -> dict[str, Any]:
    """Return the merge patch of the parent's Lease that requests the end of a child run."""
    return _annotated(name, {"cancel": True})


def withdraw(name: str) -> dict[str, Any]:
    """Return the merge patch of the parent's Lease that removes a request or its answer."""
    return {"metadata": {"annotations": {PREFIX + name: None}}}


def answer(name: str, request: Request, refused: str | None) -> list[dict[str, Any]]:
    """Return the JSON patch that removes a request, or replaces it by a refusal. It fails if the request has changed.

    Args:
        name: of the child run.
        request: the request that the operator has handled.
        refused: why the operator refuses it; None where it does not.
    """
    path = "/metadata/annotations/" + (PREFIX + name).replace("~", "~0").replace("/", "~1")
    test = {"op": "test", "path": path, "value": request.text}
    if refused is None:
        return [test, {"op": "remove", "path": path}]
    return [test, {"op": "replace", "path": path, "value": json.dumps({"refused": refused})}]


def read(lease: Mapping[str, Any]) -> dict[str, Request]:
    """Return the requests in a Lease, by the name of the child run."""
    annotations = lease["metadata"].get("annotations") or {}
    found = {key.removeprefix(PREFIX): text for key, text in annotations.items() if key.startswith(PREFIX)}
    return {name: _parsed(str(text)) for name, text in sorted(found.items())}


def _annotated(name: str, request: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(request, separators=(",", ":"))
    return {"metadata": {"annotations": {PREFIX + name: text}}}


def _parsed(text: str) -> Request:
    try:
        data = json.loads(text) if len(text) <= REQUEST_LIMIT else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or len(data) != 1:
        return Request(text)
    ((what, value),) = data.items()
    if what == "spec" and isinstance(value, dict):
        return Request(text, spec=value)
    if what == "bounds" and isinstance(value, list) and len(value) == 2 and _are_bounds(*value):
        return Request(text, bounds=(value[0], value[1]))
    if what == "cancel" and value is True:
        return Request(text, cancel=True)
    if what == "refused" and isinstance(value, str):
        return Request(text, refused=value)
    return Request(text)


def _are_bounds(minimum: object, maximum: object) -> bool:
    return _is_number(minimum) and (maximum is None or _is_number(maximum))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

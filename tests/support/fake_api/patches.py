"""Merge patches (RFC 7386), JSON patches (RFC 6902) and selectors, as far as the operator uses them."""

from __future__ import annotations

import copy
from typing import Any

from flowcluster_operator.resources import Object
from tests.support.fake_api.failures import Failure


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a merge patch. Neither argument is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def stepped(target: Object, steps: list[Object]) -> Object:
    """Return `target` after the steps of a JSON patch. Raises Failure 422 when a step cannot be applied."""
    result = copy.deepcopy(target)
    for step in steps:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
        try:
            place: Any = result
            for part in parents:
                place = place[_index(place, part)]
            _apply(place, _index(place, last), step)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            # The API server's words for each of these, the failed test included.
            raise Failure(422, "the server rejected our request due to an error in our request") from error
    return result


def _apply(place: Any, key: Any, step: Object) -> None:
    operation = step["op"]
    if operation == "add" and isinstance(place, list):
        place.insert(len(place) if key == "-" else key, step["value"])
    elif operation == "add":
        place[key] = step["value"]
    elif operation == "remove":
        del place[key]
    elif place[key] is not None and operation == "replace":
        place[key] = step["value"]
    elif operation == "test" and place[key] == step["value"]:
        pass
    else:
        raise ValueError(operation)


def _index(place: Any, part: str) -> Any:
    return int(part) if isinstance(place, list) and part != "-" else part


def label_selected(obj: Object, selector: str) -> bool:
    """Whether the object's labels match: ``name``, ``!name``, ``name=value`` and ``name!=value``, joined by commas."""
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        name, operator, value = _term(term)
        if operator:
            holds = (labels.get(name) == value) is (operator == "=")
        else:
            holds = (name.lstrip("!") in labels) is not name.startswith("!")
        if not holds:
            return False
    return True


def field_selected(obj: Object, selector: str) -> bool:
    """Whether the object's fields match: ``path.to.field=value`` and ``path.to.field!=value``, joined by commas."""
    for term in filter(None, selector.split(",")):
        path, operator, value = _term(term)
        found: Any = obj
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if (str(found or "") == value) is not (operator == "="):
            return False
    return True


def _term(text: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        name, found, value = text.partition(operator)
        if found:
            return name, "!=" if operator == "!=" else "=", value
    return text, "", ""

"""Converters for the annotated parameters of a function, also of partials, methods and callable objects."""

from __future__ import annotations

import inspect
import typing
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster._util.functions import base_of
from flowcluster.engine.conversion import Converter

# By function, and not by annotation: equal unions can differ in their order. Weak, as a function can be made for one
# call.
_known: weakref.WeakKeyDictionary[Any, dict[str, Converter]] = weakref.WeakKeyDictionary()


def converters_of(function: Callable[..., Any]) -> dict[str, Converter]:
    """Return a converter for each annotated parameter, except those whose annotation cannot be evaluated."""
    base = base_of(function)
    try:
        found = _known.get(base)
    except TypeError:  # it can be neither hashed nor referenced weakly
        return _converters(base)
    if found is None:
        found = _known[base] = _converters(base)
    return found


def _converters(function: Any) -> dict[str, Converter]:
    try:
        annotations = inspect.get_annotations(function)
    except TypeError:
        return {}
    names = [name for name in annotations if name != "return"]
    if not names:
        return {}
    hints: dict[str, Any] = {}
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:
        # Python evaluates a text annotation. The text can name a type that exists only for type checkers, or describe
        # the parameter in words. The other parameters are still checked.
        for name in names:
            try:
                single = _Annotated({name: annotations[name]})
                hints |= typing.get_type_hints(single, _globals(function), include_extras=True)
            except Exception:
                continue
    return {
        name: Converter(hints[name]) for name in names if hints.get(name, Any) not in (Any, inspect.Parameter.empty)
    }


class _Annotated:
    """One annotation, in the form that `typing.get_type_hints` accepts."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    return getattr(inspect.unwrap(function), "__globals__", {})

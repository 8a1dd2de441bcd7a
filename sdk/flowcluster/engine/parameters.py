"""Parameters of a flow: bound to its function's signature, checked and converted by its annotations."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from flowcluster.errors import ParameterError
from flowcluster.suggestions import closest

# Values of these very types need no conversion for an annotation that names the type, so that most
# flows run without importing pydantic.
_EXACT = frozenset({int, str, float, bool, bytes})


def bind(
    flow_name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    convert: bool = True,
) -> inspect.BoundArguments:
    """The parameters of one call; with `convert` in the types that the function is annotated with.

    Raises `ParameterError`, which names the parameter.
    """
    if not args and not kwargs and not (signature := _signature(function)).parameters:
        return inspect.BoundArguments(signature, {})
    signature = _signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ParameterError(f"Flow '{flow_name}': {_explain(signature, args, kwargs, str(error))}") from None
    hints = _hints(function) if convert else {}
    for name, value in bound.arguments.items():
        if name in hints and type(value) is not hints[name]:
            bound.arguments[name] = _convert_all(flow_name, signature.parameters[name], hints[name], value)
    return bound


def by_name(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a task's call by their names. Raises TypeError if they do not fit."""
    # Not from the cache of signatures: a task may be an object that cannot be hashed.
    return with_defaults(inspect.signature(function).bind(*args, **kwargs))


def with_defaults(bound: inspect.BoundArguments) -> dict[str, Any]:
    """All parameters of a call by their names."""
    given = bound.arguments
    if len(given) == len(bound.signature.parameters):
        return given
    full = inspect.BoundArguments(bound.signature, dict(given))
    full.apply_defaults()
    return full.arguments


def accepts(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Whether `value` fits the annotation of the function's parameter `name`, if that has one."""
    hints = _hints(function)
    try:
        if name in hints:
            _convert("", name, hints[name], value)
    except ParameterError:
        return False
    return True


def _explain(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], text: str) -> str:
    parameters = signature.parameters
    takes = ", ".join(parameters) or "no parameters"
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in kwargs:
            if name not in parameters:
                return f"unknown parameter '{name}'{closest(name, parameters)}; it takes: {takes}."
    given = {*list(parameters)[: len(args)], *kwargs}
    for name, parameter in parameters.items():
        variable = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if name not in given and parameter.default is inspect.Parameter.empty and not variable:
            return f"parameter '{name}' is missing."
    return f"{text}; it takes: {takes}."


def _convert_all(flow_name: str, parameter: inspect.Parameter, hint: Any, value: Any) -> Any:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(_convert(flow_name, parameter.name, hint, item) for item in value)
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return {key: _convert(flow_name, key, hint, item) for key, item in value.items()}
    return _convert(flow_name, parameter.name, hint, value)


def _convert(flow_name: str, name: str, hint: Any, value: Any) -> Any:
    if hint in _EXACT and type(value) is hint:
        return value
    import pydantic

    try:
        return _adapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            where = "".join(f"[{part!r}]" for part in problem["loc"])
            given = repr(problem["input"])
            shown = given if len(given) <= 60 else f"{given[:60]}…"
            problems.append(f"parameter '{name}'{where}: {problem['msg']}, not {shown}.")
        raise ParameterError(f"Flow '{flow_name}': {' '.join(problems)}") from error


def _adapter(hint: Any) -> Any:
    try:
        return _cached_adapter(hint)
    except TypeError:  # a hint that cannot be hashed, such as Annotated[int, ["some", "list"]]
        return _new_adapter(hint)


def _new_adapter(hint: Any) -> Any:
    import pydantic

    try:
        return pydantic.TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    except pydantic.PydanticUserError:
        # Models and dataclasses bring a configuration of their own and take no other.
        return pydantic.TypeAdapter(hint)


_cached_adapter = functools.lru_cache(maxsize=512)(_new_adapter)


@functools.lru_cache(maxsize=512)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@functools.lru_cache(maxsize=512)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types to convert to; a parameter is left out if its annotation names nothing at run time."""
    annotations = inspect.get_annotations(function)
    annotations.pop("return", None)
    if not annotations:
        return {}
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:
        # Some name exists for type checkers only. The other parameters are still checked.
        hints = {}
        for name, annotation in annotations.items():
            try:
                hints[name] = typing.get_type_hints(_Annotated({name: annotation}), _globals(function))[name]
            except NameError:
                continue
    return {name: hint for name, hint in hints.items() if name in annotations and hint is not Any}


class _Annotated:
    """One annotation alone, in the form that `typing.get_type_hints` takes."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    return getattr(inspect.unwrap(function), "__globals__", {})

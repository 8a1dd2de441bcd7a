"""Parameters of a flow: binding to the signature of its function, and conversion by annotations."""

from __future__ import annotations

import inspect
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster import states
from flowcluster._util.suggestions import closest
from flowcluster.engine.conversion import Converter
from flowcluster.engine.parameter_converters import converters_of
from flowcluster.errors import ParameterError


def bind(
    flow_name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    convert: bool = True,
) -> inspect.BoundArguments:
    """Return the parameters of one call; with `convert`, in the types of the function's annotations.

    Raises:
        ParameterError: a parameter is unknown, missing or wrong; the message names it.
    """
    signature = _signature(function)
    if not args and not kwargs and not signature.parameters:
        return inspect.BoundArguments(signature, {})
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ParameterError(f"Flow '{flow_name}': {_explain(signature, args, kwargs, str(error))}") from None
    converters = converters_of(function) if convert else {}
    for name, value in bound.arguments.items():
        if name in converters:
            bound.arguments[name] = _convert_all(flow_name, signature.parameters[name], converters[name], value)
    return bound


def by_name(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all parameters of a task's call by name. Raises TypeError if they do not fit."""
    if isinstance(function, types.MethodType):
        # The instance or class is one of them, however the task was called.
        method: types.MethodType = function
        function, args = method.__func__, (method.__self__, *args)
    return with_defaults(_signature(function).bind(*args, **kwargs))


def with_defaults(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return all parameters of a call by name."""
    given = bound.arguments
    if len(given) == len(bound.signature.parameters):
        return given
    full = inspect.BoundArguments(bound.signature, dict(given))
    full.apply_defaults()
    return full.arguments


def accepts(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Return whether `value` fits the annotation of the function's parameter `name`; True without an annotation."""
    converters = converters_of(function)
    try:
        if name in converters:
            _convert("", name, converters[name], value)
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


def _convert_all(flow_name: str, parameter: inspect.Parameter, converter: Converter, value: Any) -> Any:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL and not _is_whole(converter):
        return tuple(_convert(flow_name, parameter.name, converter, item) for item in value)
    if parameter.kind is inspect.Parameter.VAR_KEYWORD and not _is_whole(converter):
        return {key: _convert(flow_name, key, converter, item) for key, item in value.items()}
    return _convert(flow_name, parameter.name, converter, value)


def _is_whole(converter: Converter) -> bool:
    """Return whether an annotation is for ``*args`` or ``**kwargs`` as a whole, as ``**kwargs: Unpack[Options]``."""
    return typing.get_origin(converter.hint) is typing.Unpack


def _convert(flow_name: str, name: str, converter: Converter, value: Any) -> Any:
    try:
        return converter.convert(value)
    except Exception as error:
        import pydantic

        if not isinstance(error, pydantic.ValidationError):
            shown = _short(converter.hint)
            raise ParameterError(
                f"Flow '{flow_name}': parameter '{name}' could not be checked by its annotation {shown}: "
                f"{states.describe(error)}"
            ) from error
        problems = []
        for problem in error.errors(include_url=False):
            where = "".join(f"[{part!r}]" for part in problem["loc"])
            problems.append(f"parameter '{name}'{where}: {problem['msg']}, not {_short(problem['input'])}.")
        raise ParameterError(f"Flow '{flow_name}': {' '.join(problems)}") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


# Weak: a function can be made for one call, and hold large values.
_signatures: weakref.WeakKeyDictionary[types.FunctionType, inspect.Signature] = weakref.WeakKeyDictionary()


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    # Only for plain functions: others cannot always be hashed or referenced weakly.
    if type(function) is not types.FunctionType:
        return inspect.signature(function)
    found = _signatures.get(function)
    if found is None:
        found = _signatures[function] = inspect.signature(function)
    return found

"""Names of runs by the user's choice: templates over the arguments, and functions."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Template = str | Callable[[], str]


def render(option: str, template: Template, values: Mapping[str, Any]) -> str:
    """Return the name that a template or a function results in.

    Args:
        option: name of the option, for messages.
        template: the template or function.
        values: arguments by name.

    Raises:
        ValueError: the option is wrong, for the reason in the message.
    """
    if not isinstance(template, str):
        name = template()
        if not isinstance(name, str) or not name:
            raise ValueError(f"{option} must give a string that is not empty, not {name!r}.")
        return name
    try:
        name = template.format(**values)
    except KeyError as error:
        known = ", ".join(values) or "none"
        raise ValueError(
            f"{option} {template!r} names {error}, which is not an argument; there are: {known}."
        ) from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{option} {template!r} cannot be filled in: {error}.") from error
    if not name:
        raise ValueError(f"{option} {template!r} gives an empty name.")
    return name


def used_by(template: Template) -> frozenset[str]:
    """Return the names of the arguments in a template."""
    return _named_in(template) if isinstance(template, str) else frozenset()


@functools.lru_cache(maxsize=256)
def _named_in(template: str) -> frozenset[str]:
    return frozenset(_names_in(template))


def _names_in(template: str) -> Iterator[str]:
    try:
        for _, field, spec, _ in string.Formatter().parse(template):
            if field:
                yield field.replace("[", ".").split(".")[0]
            if spec:
                yield from _names_in(spec)  # as the width in "{table:{width}}"
    except ValueError:
        return  # `render` refuses the template

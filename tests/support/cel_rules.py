"""CEL rules of CRDs, for an interpreter that does not know how Kubernetes writes fields with reserved names."""

from __future__ import annotations

import functools
import re

import cel

_ESCAPED = re.compile(r"\b__([a-z]+)__\b")


@functools.cache
def program(rule: str) -> cel.Program:
    """Return the rule, ready to be evaluated on objects whose fields have their own names."""
    return cel.compile(_ESCAPED.sub(r"\1", rule))

"""The base of all models of the API: camelCase names in JSON, and the schema extensions that Kubernetes reads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

#: Schema extension for an object whose unknown fields Kubernetes must keep.
OPAQUE: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}

#: Reserved words of CEL. Source: the language definition of CEL.
RESERVED = {
    *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
    *("namespace", "null", "package", "return", "true", "var", "void", "while"),
}


def config_with(extra: dict[str, Any] | None = None) -> ConfigDict:
    """Return the configuration of a model, with extensions of its schema such as `rules`."""
    return ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, json_schema_extra=extra
    )


class ApiModel(BaseModel):
    """A part of the resource. Fields that a newer CRD adds are ignored."""

    model_config = config_with()


def cel_field(name: str) -> str:
    """Return the name of a field in a CEL rule: a reserved word is put between double underscores.

    With the unescaped name, some API servers refuse the rule, and others estimate its cost as unlimited.
    """
    return f"__{name}__" if name in RESERVED else name


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return CEL rules for `json_schema_extra`.

    Args:
        pairs: an expression, and the message of the API server where the expression is false.
    """
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}

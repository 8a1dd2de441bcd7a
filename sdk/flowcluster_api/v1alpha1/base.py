"""What all models of the contract share: camelCase on the wire, and the schema notes that Kubernetes reads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

#: Schema note for an object whose unknown fields Kubernetes must keep.
OPAQUE: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}

#: Words that CEL keeps for itself. Source: the language definition of CEL.
RESERVED = {
    *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
    *("namespace", "null", "package", "return", "true", "var", "void", "while"),
}


class ApiModel(BaseModel):
    """A part of the resource. Unknown fields are ignored: a newer CRD may carry more than this code knows."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


def cel_field(name: str) -> str:
    """Return how a CEL rule names a field: one whose name is a reserved word stands between double underscores.

    By the name itself, some API servers refuse the rule, and others take the costs of the field for unlimited.
    """
    return f"__{name}__" if name in RESERVED else name


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for `json_schema_extra`: pairs of an expression and the message that refuses it."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}

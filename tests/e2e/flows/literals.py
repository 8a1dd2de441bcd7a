"""A flow that returns its parameters."""

from typing import Any

from flowcluster import flow


@flow
def echo(texts: dict[str, Any]) -> dict[str, Any]:
    return texts

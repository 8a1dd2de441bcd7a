"""Why a run does not proceed: refused children, passes that fail, and Events about children."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The API server refused to create a child.

    Attributes:
        kind: kind of the child.
        name: name of the child.
        status: the HTTP status.
        message: the API server's message.
    """

    kind: str
    name: str
    status: int
    message: str


class RepeatedFailure(NamedTuple):
    """Consecutive passes over a run that fail.

    Attributes:
        reason: one CamelCase word.
        message: the message of the API server or of the exception.
        seconds: time since the first of these passes.
    """

    reason: str
    message: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class WarningEvent:
    """A Kubernetes Event about one of the run's children."""

    kind: str
    name: str
    reason: str
    message: str

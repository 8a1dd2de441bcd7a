"""The error of a flow run that cannot start."""

from __future__ import annotations


class StartupError(Exception):
    """The run cannot start.

    Attributes:
        reason: the cause in one CamelCase word, for programs.
        message: a sentence for people.
        cause: the exception that caused it, if its traceback is useful.
    """

    def __init__(self, reason: str, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.cause = cause

"""What keeps a flow run from starting, told to the one who asked for it."""

from __future__ import annotations


class Problem(Exception):
    """The run cannot start.

    Attributes:
        reason: one CamelCase word, for programs.
        message: a sentence, for people.
        cause: the exception behind it, if its traceback helps.
    """

    def __init__(self, reason: str, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.cause = cause

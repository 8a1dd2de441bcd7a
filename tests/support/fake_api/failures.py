"""The errors that a Kubernetes API server answers with."""

from __future__ import annotations

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Failure(Exception):
    """An error answer: HTTP status, Kubernetes' reason and a message.

    Args:
        status: the HTTP status.
        message: a sentence for a person.
        reason: Kubernetes' word; by default the one that belongs to `status`.
    """

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason or REASONS.get(status, "")

"""The operator's errors.

OperatorError
├── ApiError            the API server refused a request
│   ├── NotFound        404
│   ├── Conflict        409: exists already, or the precondition no longer holds
│   └── Refused         400, 403, 422: not allowed, or invalid
├── ApiUnavailable      no answer, 401, 429 or 5xx: a retry can succeed
├── SpecError           no child can be built from the spec
│   └── TemplateError   a template in the spec cannot be merged into that of the operator
└── IllegalTransition   a bug: a decision set a phase that cannot follow the present one
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of all errors of the operator."""


class ApiError(OperatorError):
    """The API server answered with an error: `status` is the HTTP status, `reason` the reason that Kubernetes gives."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Conflict(ApiError):
    """The object exists already, or changed since it was read."""


class Refused(ApiError):
    """The request is not allowed, or the object is invalid."""


class ApiUnavailable(OperatorError):
    """The API server did not answer, or cannot serve the request now; `retry_after` is the wait that it requests."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IllegalTransition(OperatorError):
    """A phase cannot follow the present one; the message has the story from the run's status."""


class SpecError(OperatorError):
    """No child can be built from the spec; the message names the field."""


class TemplateError(SpecError):
    """A user's template cannot be merged into that of the operator; the message names the field."""


def api_error(status: int, reason: str, message: str) -> ApiError:
    """Return the error of the class that fits an HTTP status."""
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 400: Refused, 403: Refused, 422: Refused}
    return kinds.get(status, ApiError)(status, reason, message)

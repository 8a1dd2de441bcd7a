"""The operator's errors.

OperatorError
├── ApiError            the API server refused a request
│   ├── NotFound        404
│   ├── Conflict        409: exists already, or the precondition no longer holds
│   └── Refused         400, 403, 422: not allowed, or invalid
├── ApiUnavailable      no answer, 429 or 5xx: worth a retry
├── SpecError           no child can be built from the spec
│   └── TemplateError   a template in the spec does not have the shape of a pod template
└── IllegalTransition   a bug: a phase that cannot follow another
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of all errors of the operator."""


class ApiError(OperatorError):
    """The API server answered with an error: `status` is the HTTP status, `reason` that of Kubernetes."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Conflict(ApiError):
    """The object exists already, or changed since it was read."""


class Refused(ApiError):
    """Not allowed, or not valid."""


class ApiUnavailable(OperatorError):
    """The API server did not answer, or requested a retry after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IllegalTransition(OperatorError):
    """A phase cannot follow the present one; the message has the run's story."""


class SpecError(OperatorError):
    """No child can be built from the spec; the message names the field."""


class TemplateError(SpecError):
    """A template cannot be merged into ours; the message names the field."""


def api_error(status: int, reason: str, message: str) -> ApiError:
    """Return the error of the class that fits an HTTP status."""
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 400: Refused, 403: Refused, 422: Refused}
    return kinds.get(status, ApiError)(status, reason, message)

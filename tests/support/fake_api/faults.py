"""The faults of a request, and the requests that they happen to."""

from __future__ import annotations

import asyncio
import dataclasses

from flowcluster_operator.resources import Resource
from tests.support.fake_api.objects import Objects


@dataclasses.dataclass(frozen=True)
class Answer:
    """The server answers with this and does nothing else.

    Attributes:
        status: the HTTP status.
        message: of the `Status` object in the body.
        retry_after: the header of that name.
        body: the whole body, in place of a `Status` object.
    """

    status: int
    message: str = "a fault of the test"
    retry_after: str | None = None
    body: str | None = None


@dataclasses.dataclass(frozen=True)
class Drop:
    """The server closes the connection, before or after it has executed the request."""

    after_write: bool = False


@dataclasses.dataclass(frozen=True)
class StaleList:
    """The server lists the objects as they were earlier."""

    snapshot: Objects


@dataclasses.dataclass(frozen=True)
class Hold:
    """The server waits with the request until it is released.

    Attributes:
        arrived: set once the first request waits.
        released: lets all requests continue.
    """

    arrived: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    released: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


Fault = Answer | Drop | StaleList | Hold


@dataclasses.dataclass
class Injection:
    """A fault, and the requests that it applies to.

    Attributes:
        fault: what happens to them.
        methods: HTTP methods; an empty tuple means all.
        resource: their kind; None means all.
        skip: matching requests that are served before the first fault.
        times: matching requests that the fault happens to.
    """

    fault: Fault
    methods: tuple[str, ...]
    resource: Resource | None
    skip: int
    times: int

    def happens_to(self, method: str, resource: Resource) -> bool:
        """Return whether the fault happens to this request, and count the request."""
        if (self.methods and method not in self.methods) or self.resource not in (None, resource):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0

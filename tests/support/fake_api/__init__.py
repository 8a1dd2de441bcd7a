"""An API server for unit tests: real HTTP on the loopback interface, objects in memory, faults on request."""

from tests.support.fake_api.faults import Answer, Drop, Hold, StaleList
from tests.support.fake_api.objects import NODE, Objects
from tests.support.fake_api.server import FakeApi, Request

__all__ = ["NODE", "Answer", "Drop", "FakeApi", "Hold", "Objects", "Request", "StaleList"]

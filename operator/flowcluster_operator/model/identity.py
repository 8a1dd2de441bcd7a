"""The identity of a FlowRun or SharedCluster."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import names
from flowcluster_operator.resources import Object


class RunId(NamedTuple):
    """The identity of one FlowRun or SharedCluster. It is the key of the work queue.

    All fields count: an object of the same name, or with the same UID in another namespace, is another run.
    """

    namespace: str
    name: str
    uid: str
    kind: str = names.KIND


def name_and_uid(obj: Object) -> tuple[str, str]:
    """Return the name and the UID of an object."""
    return obj["metadata"]["name"], obj["metadata"]["uid"]

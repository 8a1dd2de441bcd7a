"""The project's modules in the key-value store of Ray's head, from which workers get them."""

from __future__ import annotations

import contextlib

from flowcluster.project import by_value, discovery
from flowcluster.project.source import Reference
from flowcluster_api import tags


class SentProject:
    """The project of a flow run. The first task sends it, for all tasks of the session.

    Args:
        topic: of the flow run; the prefix of the key.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._is_sent = False
        self._reference: Reference | None = None

    def reference(self) -> Reference | None:
        """Return the reference to the project; None without a project. Raises ValueError if it is too large."""
        if not self._is_sent:
            if project := discovery.here(by_value.scripts):
                from ray.experimental import internal_kv

                place = f"{self._topic}/{project.digest}"
                internal_kv._internal_kv_put(place.encode(), project.packed, namespace=tags.RAY_PROJECTS_NAMESPACE)
                self._reference = Reference(project.digest, place)
            self._is_sent = True
        return self._reference

    def delete(self) -> None:
        """Delete the project from the head, when no more tasks start."""
        if self._reference is not None:
            from ray.experimental import internal_kv

            # The flow run does not fail when the head is lost at its end.
            with contextlib.suppress(Exception):
                internal_kv._internal_kv_del(self._reference.place.encode(), namespace=tags.RAY_PROJECTS_NAMESPACE)
            self._reference = None


def fetch(place: str) -> bytes:
    """Return the packed project, on a worker. Raises RuntimeError when its flow run is over."""
    from ray.experimental import internal_kv

    packed: bytes | None = internal_kv._internal_kv_get(place.encode(), namespace=tags.RAY_PROJECTS_NAMESPACE)
    if packed is None:
        raise RuntimeError("The flow run that submitted this task is over.")
    return packed

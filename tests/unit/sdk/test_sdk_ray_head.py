"""How a session on Ray finds out that its cluster is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from flowcluster.errors import ClusterLost
from flowcluster.runners.ray import head
from flowcluster.runners.ray.connection import Connection, LossQuery
from flowcluster.runners.ray.head import HeadWatch

CAUSE = ClusterLost("the head's pod was removed")


def watch(*answers: ClusterLost | None) -> HeadWatch:
    """Return the watch of a cluster whose loss only queries find. They return `answers` in turn."""
    found: Iterator[ClusterLost | None] = iter(answers)
    loss = LossQuery(known=lambda: None, find=lambda: next(found))
    return HeadWatch(Connection("ray://127.0.0.1:1", thread=None, loss=loss), tick=lambda: None, gone=lambda lost: None)


def test_failed_task_queries_for_the_loss_of_its_cluster() -> None:
    """A task can fail before this process observes that its cluster is lost."""
    assert watch(None).check() is None
    assert watch(CAUSE).check() is CAUSE


def test_crashed_task_waits_a_moment_for_the_end_of_its_head() -> None:
    """The processes of a head's node do not end at the same moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = Connection("127.0.0.1:1", thread=None)
        connection.endpoint = server.getsockname()
        found = HeadWatch(connection, tick=lambda: None, gone=lambda lost: None)
        ending = threading.Timer(0.2, server.close)
        ending.start()

        assert found.check() is None
        assert found.check_after_crash() is not None
        ending.join()


def test_many_crashes_with_one_node_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_TOGETHER", 0.2)
    queries: list[None] = []
    loss = LossQuery(known=lambda: None, find=lambda: queries.append(None))
    found = HeadWatch(Connection(None, thread=None, loss=loss), tick=lambda: None, gone=lambda lost: None)
    assert found.check_after_crash() is None
    first = len(queries)
    assert [found.check_after_crash() for _ in range(20)] == [None] * 20

    assert (first > 1, len(queries)) == (True, first + 20)


def test_ended_connection_waits_for_the_cause_of_the_loss() -> None:
    """The operator can record the loss after the connection ended."""
    assert watch(None, CAUSE).wait_for_loss() is CAUSE

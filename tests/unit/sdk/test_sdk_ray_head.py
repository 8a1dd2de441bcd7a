"""How a session on Ray finds out that its cluster is lost."""

from __future__ import annotations

from collections.abc import Iterator

from flowcluster.errors import ClusterLost
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


def test_ended_connection_waits_for_the_cause_of_the_loss() -> None:
    """The operator can record the loss after the connection ended."""
    assert watch(None, CAUSE).wait_for_loss() is CAUSE

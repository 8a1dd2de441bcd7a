"""The records that a shared scheduler keeps of finished work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from distributed.scheduler import Computation, TaskGroup, TaskPrefix
from distributed.spans import Span, SpansSchedulerExtension
from hypothesis import given
from hypothesis import strategies as st

from flowcluster.agent import shared_runs_plugin
from flowcluster.agent.shared_runs_plugin import Records

MOST = shared_runs_plugin._MOST_GROUPS


class Recording:
    """A scheduler that has executed tasks.

    Attributes:
        scheduler: with the records of Dask's own classes.
        spans: its extension.
    """

    def __init__(self) -> None:
        self.scheduler: Any = SimpleNamespace(
            task_groups={}, computations=[Computation()], extensions={}, total_nthreads_history=[(0.0, 1)]
        )
        self.spans = SpansSchedulerExtension(self.scheduler)
        self.scheduler.extensions["spans"] = self.spans
        self.records = Records(self.scheduler)
        self._number = 0

    def execute(self, tags: tuple[str, ...], ids: tuple[str, ...], is_live: bool = False) -> TaskGroup:
        """Execute a task in a span. The scheduler forgets its group unless the task is live."""
        self._number += 1
        name = f"task-{self._number}"
        group = TaskGroup(name, TaskPrefix("task"))
        group.start, group.stop = self._number, self._number + 1
        span = self.spans._ensure_span(tags, ids)
        group.span_id = span.id
        span.groups.add(group)
        self.scheduler.computations[-1].groups.add(group)
        if is_live:
            self.scheduler.task_groups[name] = group
        return group

    def groups(self) -> set[TaskGroup]:
        """Return all groups in the records."""
        return set().union(*(holder.groups for holder in (*self.spans.spans.values(), *self.scheduler.computations)))


@pytest.fixture
def recording() -> Recording:
    return Recording()


def test_records_of_finished_tasks_are_bounded(recording: Recording) -> None:
    live = recording.execute(("default",), ("live",), is_live=True)
    for number in range(3 * MOST):
        last = recording.execute(("default",), (f"span-{number}",))

    recording.records.clean_up()

    assert {live, last} <= recording.groups()
    assert len(recording.groups()) <= MOST
    assert len(recording.spans.spans) <= MOST
    assert [len(found) for found in recording.spans.spans_search_by_tag.values()] == [len(recording.spans.root_spans)]


def test_records_of_a_span_that_never_ends_are_bounded(recording: Recording) -> None:
    for number in range(3 * MOST):
        recording.execute(("default",), ("busy",), is_live=number == 0)

    recording.records.clean_up()

    assert len(recording.groups()) <= MOST
    assert list(recording.spans.spans) == ["busy"]


def test_records_are_kept_when_they_are_few(recording: Recording) -> None:
    for number in range(MOST):
        recording.execute(("default",), (f"span-{number}",))

    recording.records.clean_up()

    assert len(recording.groups()) == len(recording.spans.spans) == MOST


def test_metrics_of_a_deleted_span_are_ignored(recording: Recording) -> None:
    for number in range(2 * MOST):
        recording.execute(("default",), (f"span-{number}",))
    recording.records.clean_up()
    last = f"span-{2 * MOST - 1}"

    metrics = {("execute", name, "task", "cpu", "seconds"): 1.0 for name in ("span-0", last)}
    recording.spans.heartbeat(None, metrics)

    assert "span-0" not in recording.spans.spans
    assert sum(recording.spans.spans[last].cumulative_worker_metrics.values()) == 1.0


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=3), st.booleans()), max_size=20))
def test_remaining_spans_are_a_searchable_forest(tasks: list[tuple[list[int], bool]]) -> None:
    recording = Recording()
    live = set()
    for path, is_live in tasks:
        tags = tuple(map(str, path))
        ids = tuple("-".join(tags[: depth + 1]) for depth in range(len(tags)))
        group = recording.execute(tags, ids, is_live)
        live |= {group} if is_live else set()
    for number in range(MOST):
        recording.execute(("last",), (f"last-{number}",))

    recording.records.clean_up()

    assert live <= recording.groups()
    kept = recording.spans.spans
    reached = [span for root in recording.spans.root_spans for span in root.traverse_spans()]
    assert sorted(span.id for span in reached) == sorted(kept)
    assert all(set(span.traverse_groups()) for span in reached)
    assert {span.id for found in recording.spans.spans_search_by_name.values() for span in found} == set(kept)
    assert {span.id for found in recording.spans.spans_search_by_tag.values() for span in found} == set(kept)
    assert _stops(reached)


def _stops(spans: list[Span]) -> list[float]:
    """Return the values that the dashboard reads. They fail for a span without groups."""
    return [span.stop for span in spans]

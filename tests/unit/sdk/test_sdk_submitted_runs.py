"""A submitted run: its log, its end, and what `flowcluster submit --watch` prints."""

from __future__ import annotations

import io

import pytest

from flowcluster.cli.watch import _Story
from flowcluster.errors import SubmittedRunFailed
from flowcluster.submit.driver_log import LineDeduplicator
from flowcluster.submit.handle import phase_at_end


class TestLog:
    """Lines of a log that was opened more than once."""

    LINES = tuple(
        line.encode()
        for line in (
            "2026-01-01T12:00:00.100Z a\n",
            "2026-01-01T12:00:01.000000001Z b\n",
            "2026-01-01T12:00:01.000000001Z b\n",
            "2026-01-01T12:00:00.999999999Z late\n",
            "2026-01-01T12:00:01.5Z c\n",
            "2026-01-01T12:00:07Z d\n",
            "2026-01-01T12:00:07.1Z e\n",
            "2026-01-01T12:00:06.999Z later\n",
            "2026-01-01T12:00:09Z f\n",
        )
    )

    @pytest.mark.parametrize("broken", [(0,), (1,), (2, 3), (4, 4), (5, 6, 7), (8, 9), tuple(range(10))])
    def test_each_line_is_told_once(self, broken: tuple[int, ...]) -> None:
        """Wherever the connection breaks: equal lines count, and so do those that changed places."""
        lines, told = LineDeduplicator(), list[bytes]()
        for end in (*broken, len(self.LINES)):
            since = lines.reopened()
            # What the log has by then, from the second on that was asked for.
            given = [line for line in self.LINES[:end] if since is None or line[:19].decode() + "Z" >= since]
            told += [line for line in given if lines.is_new(line)]

        assert sorted(told) == sorted(self.LINES)

    def test_what_the_kubelet_says_is_not_the_drivers(self) -> None:
        """A line without a time comes from the node."""
        assert not LineDeduplicator().is_new(b"unable to retrieve container logs for containerd://1\n")


class TestRecord:
    """What a run's status tells."""

    @pytest.mark.parametrize(
        ("status", "reason", "phase"),
        [
            ("True", "Succeeded", "Succeeded"),
            ("True", "Cancelled", "Cancelled"),
            ("True", "ParentEnded", "Cancelled"),
            ("True", "ClusterLost", "Failed"),
            ("False", "Waiting", None),
        ],
    )
    def test_the_end_is_known_before_all_is_removed(self, status: str, reason: str, phase: str | None) -> None:
        """By the condition Finished, which comes first."""
        told = {"phase": "Stopping", "conditions": [{"type": "Finished", "status": status, "reason": reason}]}

        assert phase_at_end(told) == phase

    def test_each_change_is_told_once(self) -> None:
        """The story with its own times, and what stands as reason and message between its entries."""
        told = io.StringIO()
        story = _Story(told)
        created = {"time": "2026-01-01T12:00:00Z", "reason": "Created", "message": "created Job x"}
        runs = {"time": "2026-01-01T12:00:09Z", "reason": "FlowRunning", "message": "the driver was started"}
        waiting = {"phase": "Starting", "reason": "Waiting", "message": "waiting for the driver", "story": [created]}
        story.show({}, 1.0)
        story.show({}, 6.0)
        story.show({}, 7.0)
        story.show(waiting, 8.0)
        story.show(waiting, 9.0)
        story.show({"phase": "Running", **runs, "message": "the flow runs", "story": [created, runs]}, 10.0)

        assert [line.split(" ", 1)[1] for line in told.getvalue().splitlines()] == [
            "Pending   Unnoticed: no operator has taken notice of the run yet: does it run?",
            "Starting  Created: created Job x",
            "Starting  Waiting: waiting for the driver",
            "Running   FlowRunning: the driver was started",
        ]
        assert "12:00:09 Running" in told.getvalue()

    def test_watch_shows_a_cause_once_while_its_reasons_alternate(self) -> None:
        told = io.StringIO()
        story = _Story(told)
        entry = {"time": "2026-01-01T12:00:01Z", "part": "driver"}
        for number, reason in enumerate(["ErrImagePull", "ImagePullBackOff"] * 3):
            text = {"reason": reason, "message": f"text {number}"}
            story.show({"phase": "Starting", **text, "story": [entry | text]}, float(number))

        assert told.getvalue() == "12:00:01 Starting  ErrImagePull: text 0\n"

    def test_its_failure_travels(self) -> None:
        """The exception keeps its reason when it is pickled."""
        import pickle

        error = pickle.loads(pickle.dumps(SubmittedRunFailed("no", "ClusterLost")))

        assert (str(error), error.reason) == ("no", "ClusterLost")

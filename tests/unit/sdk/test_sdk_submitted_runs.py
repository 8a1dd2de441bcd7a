"""A submitted run: its log, its end, and the output of `flowcluster submit --watch`."""

from __future__ import annotations

import io

import pytest

from flowcluster.cli.watch import _Story
from flowcluster.errors import SubmittedRunFailed
from flowcluster.submit.driver_log import LineDeduplicator
from flowcluster.submit.handle import phase_at_end


class TestLog:
    """Lines of a log that the SDK opened more than once."""

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
    def test_each_line_is_returned_once_when_the_connection_breaks(self, broken: tuple[int, ...]) -> None:
        """The lines can be equal, or in another order."""
        lines, returned = LineDeduplicator(), list[bytes]()
        for end in (*broken, len(self.LINES)):
            since = lines.reopened()
            # The lines that the log has by then, from the requested second on.
            given = [line for line in self.LINES[:end] if since is None or line[:19].decode() + "Z" >= since]
            returned += [line for line in given if lines.is_new(line)]

        assert sorted(returned) == sorted(self.LINES)

    def test_line_of_the_kubelet_is_not_a_line_of_the_driver(self) -> None:
        """A line of the kubelet has no time."""
        assert not LineDeduplicator().is_new(b"unable to retrieve container logs for containerd://1\n")


class TestRecord:
    """The status of a run."""

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
    def test_phase_at_end_is_known_before_all_objects_are_deleted(
        self, status: str, reason: str, phase: str | None
    ) -> None:
        """The operator sets the condition Finished first."""
        record = {"phase": "Stopping", "conditions": [{"type": "Finished", "status": status, "reason": reason}]}

        assert phase_at_end(record) == phase

    def test_watch_shows_each_change_once(self) -> None:
        """The output has the entries of the story with their times, and reason and message between the entries."""
        output = io.StringIO()
        story = _Story(output)
        created = {"time": "2026-01-01T12:00:00Z", "reason": "Created", "message": "created Job x"}
        runs = {"time": "2026-01-01T12:00:09Z", "reason": "FlowRunning", "message": "the driver was started"}
        waiting = {"phase": "Starting", "reason": "Waiting", "message": "waiting for the driver", "story": [created]}
        story.show({}, 1.0)
        story.show({}, 6.0)
        story.show({}, 7.0)
        story.show(waiting, 8.0)
        story.show(waiting, 9.0)
        story.show({"phase": "Running", **runs, "message": "the flow runs", "story": [created, runs]}, 10.0)

        assert [line.split(" ", 1)[1] for line in output.getvalue().splitlines()] == [
            "Pending   Unnoticed: no operator has observed the run yet: does it run?",
            "Starting  Created: created Job x",
            "Starting  Waiting: waiting for the driver",
            "Running   FlowRunning: the driver was started",
        ]
        assert "12:00:09 Running" in output.getvalue()

    def test_watch_shows_a_cause_once_while_its_reasons_alternate(self) -> None:
        output = io.StringIO()
        story = _Story(output)
        entry = {"time": "2026-01-01T12:00:01Z", "part": "driver"}
        for number, reason in enumerate(["ErrImagePull", "ImagePullBackOff"] * 3):
            text = {"reason": reason, "message": f"text {number}"}
            story.show({"phase": "Starting", **text, "story": [entry | text]}, float(number))

        assert output.getvalue() == "12:00:01 Starting  ErrImagePull: text 0\n"

    def test_failure_can_be_pickled(self) -> None:
        """The exception keeps its reason when it is pickled."""
        import pickle

        error = pickle.loads(pickle.dumps(SubmittedRunFailed("no", "ClusterLost")))

        assert (str(error), error.reason) == ("no", "ClusterLost")

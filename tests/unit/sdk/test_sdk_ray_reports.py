"""Reports of the ends of task runs, as Ray sends them to the driver."""

from __future__ import annotations

import pytest

from flowcluster import states
from flowcluster.runners.failure import TaskFailure
from flowcluster.runners.ray import reports
from flowcluster.runners.ray.reports import EndReport


@pytest.mark.parametrize(
    "report",
    [
        EndReport(None),
        EndReport(b""),
        EndReport(b"-"),
        EndReport(b"result"),
        EndReport(b"result", records=({"message": "line"},)),
        EndReport(None, batches=1),
        EndReport(b"result", printed=(7, 0, 10)),
        EndReport(b"result", name="Cached"),
    ],
    ids=str,
)
def test_report_is_read_as_it_was_written(report: EndReport) -> None:
    assert reports.load(reports.dump(report)) == report


def test_report_has_the_failure_of_the_run() -> None:
    failure = TaskFailure("run-0", states.failed("It failed."))

    read = reports.load(reports.dump(EndReport(None, failure)))

    assert read.failure is not None
    assert (read.failure.run_name, read.failure.message) == ("run-0", "It failed.")


def test_report_of_a_usual_run_has_one_byte_besides_the_result() -> None:
    assert [len(reports.dump(EndReport(None))), len(reports.dump(EndReport(b"result")))] == [1, 7]

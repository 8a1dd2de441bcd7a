"""The report of a worker about the end of a task run: an object that Ray sends to the driver immediately."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcluster.runners.failure import TaskFailure

#: First bytes of the report of a completed run that has no other fields. Nearly all reports are of this kind. The
#: packed result follows if it is small.
_RESULT, _NO_RESULT = b"r", b"-"


class EndReport(NamedTuple):
    """The data of the end of a task run for the driver.

    Attributes:
        result: packed, if the run completed and its result is small.
        failure: if the run did not complete.
        records: log records that were not sent before.
        batches: number of batches of records that were sent before.
        printed: id of the worker's process, and bytes written to its stdout and its stderr; None without output.
        name: of the final state; None for the usual name.
    """

    result: bytes | None
    failure: TaskFailure | None = None
    records: Sequence[dict[str, Any]] = ()
    batches: int = 0
    printed: tuple[int, int, int] | None = None
    name: str | None = None


def dump(report: EndReport) -> bytes:
    """Return a report as bytes for `load`."""
    result, *rest = report
    if any(rest) or report.name is not None:
        return pickle.dumps(report, protocol=5)
    return _NO_RESULT if result is None else _RESULT + result


def load(data: bytes) -> EndReport:
    """Return the report in the bytes that `dump` returned."""
    if data == _NO_RESULT:
        return EndReport(None)
    if data[:1] == _RESULT:
        return EndReport(data[1:])
    report: EndReport = pickle.loads(data)
    return report

"""What a worker reports of the end of a task run, in an object of its own that Ray sends to the driver immediately."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcluster.runners.failure import TaskFailure

#: First bytes of the report of a run that completed, without anything else to report, as nearly all of them. The packed
#: result follows if it is small.
_RESULT, _NO_RESULT = b"r", b"-"


class EndReport(NamedTuple):
    """What the driver needs of the end of a task run.

    Attributes:
        result: packed, if the run completed and its result is small.
        failure: if the run did not complete.
        records: log records that were not sent before.
        batches: how many batches of records were sent before.
        printed: id of the worker's process, and bytes written to its stdout and its stderr; None for none.
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
    """Return the report that `dump` got."""
    if data == _NO_RESULT:
        return EndReport(None)
    if data[:1] == _RESULT:
        return EndReport(data[1:])
    report: EndReport = pickle.loads(data)
    return report

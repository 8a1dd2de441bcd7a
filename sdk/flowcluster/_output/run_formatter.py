"""The format of log lines: time, level, run and text, with a traceback without frames of the SDK."""

from __future__ import annotations

import logging
from typing import Any

from flowcluster._output import library_logs
from flowcluster._output.tracebacks import format_trimmed


class RunFormatter(logging.Formatter):
    """Formats a line: time with milliseconds, level, the run or part of the SDK that logs, and the text."""

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line, without a traceback."""
        if name := getattr(record, "task_run_name", None):
            source = f"Task run '{name}'"
        elif name := getattr(record, "flow_run_name", None):
            source = f"Flow run '{name}'"
        else:
            return self._line(record, record.name, record.message)
        # A library's line belongs to the run, and names the library.
        text = f"{record.name}: {record.message}" if library_logs.is_foreign(record.name) else record.message
        return self._line(record, source, text)

    def _line(self, record: logging.LogRecord, source: str, text: str) -> str:
        return f"{self.formatTime(record)} | {record.levelname:<7} | {source} - {text}"

    def formatException(self, ei: Any) -> str:
        """Return the traceback without the SDK's own frames."""
        return format_trimmed(ei[1]) if isinstance(ei[1], BaseException) else super().formatException(ei)

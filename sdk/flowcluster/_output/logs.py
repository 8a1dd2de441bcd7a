"""Log lines of the SDK: their loggers, their format, and the logger for users' own lines.

``20:14:29.785 | INFO    | Flow run 'ivory-caiman' - Created task run 'hello-7633879f-0' for task 'hello'``

An application that configures logging keeps its own format and level. Without such a configuration, lines are written
to stderr in the format above, from level ``INFO``. ``FLOWCLUSTER_LOGGING_LEVEL`` sets another level in both cases.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from flowcluster import context
from flowcluster._output import library_logs, terminal
from flowcluster._output.run_formatter import RunFormatter
from flowcluster._output.tracebacks import with_code
from flowcluster._util import guarding, texts
from flowcluster.project.source import public

ENV_LEVEL = "FLOWCLUSTER_LOGGING_LEVEL"

# Marks a record that was sent to the driver, which decides whether to show it.
_SENT = "flowcluster_sent"
# Where a record is sent, if the current run does not determine that.
_TOPIC = "flowcluster_topic"

root = logging.getLogger("flowcluster")
engine = logging.getLogger("flowcluster.engine")
flow_runs = logging.getLogger("flowcluster.flow_runs")
task_runs = logging.getLogger("flowcluster.task_runs")

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class RunLogger(_Adapter):
    """A logger whose records have the names of their flow run and task run as attributes."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the run's names to what the caller gave as ``extra``."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def isEnabledFor(self, level: int) -> bool:
        """Return whether lines of this level are shown, also after code of the run has configured logging."""
        if self.logger.disabled:
            configure()
        return super().isEnabledFor(level)


def get_run_logger() -> RunLogger:
    """Return the logger of the current task run, or of the current flow run.

    Raises:
        NoFlowRunError: no run is current.
    """
    return logger_of(context.get_run_context())


def logger_of(run: context.FlowContext | context.TaskContext) -> RunLogger:
    """Return the logger for a run's own lines."""
    extra = library_logs.names_of(run)
    if run.topic is not None:
        # So that the logger also sends its records from a thread that the task starts. There, no run is current.
        extra[_TOPIC] = run.topic
    return RunLogger(flow_runs if isinstance(run, context.FlowContext) else task_runs, extra)


def sent_to(topic: str) -> dict[str, Any]:
    """Return the attributes of records that are sent to the driver with this topic."""
    return {_TOPIC: topic}


class _EngineLogger(RunLogger):
    """A logger for the engine's lines. If a log handler raises an error, only the line is lost."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line. Raises only what a signal raised."""
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            guarding.report_lost_line(error)


def flow_logger(run_name: str, flow_name: str, **more: Any) -> RunLogger:
    """Return the logger for the engine's lines about a flow run. `more` are further attributes of its records."""
    return _EngineLogger(flow_runs, {"flow_run_name": run_name, "flow_name": flow_name, **more})


class _Console(logging.Handler):
    """Writes to the current ``sys.stderr``, until the application configures logging."""

    def createLock(self) -> None:
        """Use the lock that `print` uses in runs: with a second lock, each line would cost a thread switch."""
        self.lock = terminal.whole_lines

    def emit(self, record: logging.LogRecord) -> None:
        if _is_configured() or hasattr(record, _SENT):
            return
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def configure() -> None:
    """Give the SDK's logger a level and a handler of its own, unless the application configured logging.

    Called at the start of every flow run, not at import: the application can configure logging later.
    """
    _enable()
    is_configured = _is_configured()
    if root.level == logging.NOTSET or isinstance(root.level, library_logs.OwnLevel):
        # Like every library, the SDK uses the level of the application's root logger, unless the application has given
        # the SDK's logger a handler.
        is_like_others = is_configured and not _has_handler_for_us() and not os.environ.get(ENV_LEVEL)
        wanted = logging.NOTSET if is_like_others else level_from_environment()
        root.setLevel(library_logs.OwnLevel(wanted))
    extra = library_logs.extra_loggers()
    console = next((handler for handler in root.handlers if isinstance(handler, _Console)), None)
    if console is None and not is_configured:
        console = _Console()
        console.setFormatter(RunFormatter())
        root.addHandler(console)
    if extra:
        library_logs.attach(extra, console, root.getEffectiveLevel())
    _keep_forwarding()


def _is_configured() -> bool:
    """Return whether the application has handlers for the lines of this package."""
    return bool(logging.root.handlers) or _has_handler_for_us()


def _has_handler_for_us() -> bool:
    return any(not isinstance(handler, _Console | ForwardHandler) for handler in root.handlers)


def _enable() -> None:
    """Enable the loggers of this package.

    By default, ``dictConfig`` and ``fileConfig`` disable existing loggers that they do not name. The levels and
    handlers that they set decide what is shown.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and not library_logs.is_foreign(name):
            logger.disabled = False


def level_from_environment() -> int:
    """Return the level in ``FLOWCLUSTER_LOGGING_LEVEL``, a name or number; ``INFO`` if it is unset or unknown."""
    text = os.environ.get(ENV_LEVEL, "").strip().upper()
    if text.isdigit():
        return int(text)
    return logging.getLevelNamesMapping().get(text, logging.INFO)


class ForwardHandler(logging.Handler):
    """Sends records of task runs from a worker to the driver.

    The worker's own handlers get other records, and those that could not be sent.

    Args:
        send: called with the topic and the record as a dict.
    """

    def __init__(self, send: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's plain parts. A value that only this process can use is sent as its text."""
        if hasattr(record, _SENT):
            return  # a child logger that is named, too, has sent it
        topic = getattr(record, _TOPIC, None)
        run = context.current.get()
        if topic is None and run is not None:
            topic = run.topic
        if topic is None:
            return
        if isinstance(run, context.TaskContext) and record.levelno < run.level:
            setattr(record, _SENT, True)  # the driver does not show this level
            return
        try:
            self._send(topic, to_dict(record))
            setattr(record, _SENT, True)
        except Exception:
            self.handleError(record)


class _Forwarding:
    """What a worker sends to drivers: records from the lowest level of the drivers on."""

    handler: ForwardHandler | None = None
    level = logging.CRITICAL


def forward(handler: ForwardHandler, level: int, loggers: Iterable[str]) -> None:
    """Send records from this worker to drivers.

    The driver decides what it shows. If code of tasks configures or disables logging, this affects only the worker's
    own output.

    Args:
        handler: sends the records.
        level: the lowest level of records.
        loggers: names of loggers of libraries whose records are sent, too.
    """
    if _Forwarding.handler is None:
        for logger in (root, engine, flow_runs, task_runs):
            # Not by a subclass: the application can have set a logger class of its own.
            vars(logger)["isEnabledFor"] = functools.partial(_is_sent_or_enabled, logger)
    _Forwarding.handler, _Forwarding.level = handler, min(level, _Forwarding.level)
    configure()
    library_logs.attach(loggers, handler, level, is_first=True)


def _keep_forwarding() -> None:
    """Restore what `forward` set: code of a task can have configured logging."""
    handler, level = _Forwarding.handler, _Forwarding.level
    if handler is None:
        return
    if handler not in root.handlers:
        root.handlers.insert(0, handler)  # before the console, which shows only what was not sent
    if root.level == logging.NOTSET or root.level > level:
        root.setLevel(level)


def _is_sent_or_enabled(logger: logging.Logger, level: int) -> bool:
    if logger.disabled or _Forwarding.handler not in root.handlers:
        configure()
    # `logging.disable` does not affect what is sent to drivers.
    return level >= _Forwarding.level or type(logger).isEnabledFor(logger, level)


def to_dict(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as a dict of plain values, with texts in place of other values."""
    data = {key: _plain(value) for key, value in vars(record).items() if key != _TOPIC}
    data.update(msg=_plain(record.getMessage()), args=None, exc_info=None, name=_plain(public(record.name)))
    if record.exc_info:
        data["exc_text"] = _plain(RunFormatter().formatException(record.exc_info))
    return data


def _plain(value: Any) -> Any:
    if value is None or type(value) in (int, float, bool):
        return value
    if isinstance(value, str):
        return texts.escaped(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    try:
        return _plain(str(value))
    except Exception:
        return f"<{type(value).__name__}>"  # the line is kept even if the value has no text


def replay(data: dict[str, Any], topic: str | None = None) -> None:
    """Handle a record that a worker sent as if it had been made in this process.

    A record of a library that only other drivers of the worker requested is dropped.

    Args:
        data: the record, as `to_dict` returns it.
        topic: where to send the record; None for the handlers of this process.
    """
    record = logging.makeLogRecord(data)
    if record.exc_text:
        record.exc_text = with_code(record.exc_text)
    if topic is not None:
        setattr(record, _TOPIC, topic)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno) and library_logs.is_wanted(record.name):
        logger.handle(record)

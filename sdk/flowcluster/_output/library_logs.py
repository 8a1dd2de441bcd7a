"""Log lines of libraries as lines of the run that calls them.

``FLOWCLUSTER_LOGGING_EXTRA_LOGGERS=httpx,mylib`` names loggers. Their records, and those of their child loggers, get
the names of the run in which they are made. They are shown like the run's own lines, and workers send them to the
driver.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from flowcluster import context

ENV_EXTRA_LOGGERS = "FLOWCLUSTER_LOGGING_EXTRA_LOGGERS"

_OWN = "flowcluster"


class OwnLevel(int):
    """A level that the SDK has set, and can change.

    Any other level was set by the application, even if it has the same value.
    """


def extra_loggers() -> tuple[str, ...]:
    """Return the names in ``FLOWCLUSTER_LOGGING_EXTRA_LOGGERS``, without this package's own and the root logger's."""
    names = {name.strip() for name in os.environ.get(ENV_EXTRA_LOGGERS, "").split(",")}
    return tuple(sorted(name for name in names if name not in ("", "root") and not _is_below(name, _OWN)))


def is_wanted(name: str) -> bool:
    """Return whether records of the logger `name` are lines of runs in this process."""
    return _is_below(name, _OWN) or any(_is_below(name, wanted) for wanted in extra_loggers())


def is_foreign(name: str) -> bool:
    """Return whether the logger `name` belongs to another library."""
    return not _is_below(name, _OWN)


def attach(names: Iterable[str], handler: logging.Handler | None, level: int, is_first: bool = False) -> None:
    """Add the names of runs to records of these loggers, and pass the records to a handler.

    A level that the application has set for such a logger is kept.

    Args:
        names: names of the loggers.
        handler: another handler for their records, if any.
        level: the lowest level of these records.
        is_first: whether the handler gets records before all other handlers.
    """
    for name in names:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET or (isinstance(logger.level, OwnLevel) and logger.level > level):
            logger.setLevel(OwnLevel(level))
        if _naming not in logger.handlers:
            logger.handlers.insert(0, _naming)  # before those that show the names
        if handler is not None and handler not in logger.handlers:
            logger.handlers.insert(1 if is_first else len(logger.handlers), handler)


def names_of(run: context.FlowContext | context.TaskContext) -> dict[str, str]:
    """Return a run's names as attributes of its records."""
    if isinstance(run, context.FlowContext):
        return {"flow_run_name": run.name, "flow_name": run.flow_name}
    return {
        "task_run_name": run.name,
        "task_name": run.task_name,
        "flow_run_name": run.flow_run_name,
        "flow_name": run.flow_name,
    }


class _Naming(logging.Handler):
    """Gives records the names of the run in which they are made."""

    def emit(self, record: logging.LogRecord) -> None:
        run = context.current.get()
        if run is not None and not hasattr(record, "flow_run_name"):
            vars(record).update(names_of(run))


_naming = _Naming()


def _is_below(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")

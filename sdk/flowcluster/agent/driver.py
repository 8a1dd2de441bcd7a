"""Whether the driver is there, as the process table tells."""

from __future__ import annotations

import psutil

from flowcluster import platforms


class Driver:
    """The process that the agent was started by.

    Not asked through the pipe alone: a child that the driver forked holds that open, too.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # It remembers when the process began: another one can get the same id.
        self._process = psutil.Process(pid) if psutil.pid_exists(pid) else None

    def is_gone(self) -> bool:
        """Whether it has ended: then another process has adopted this one."""
        if (is_parent := platforms.has_parent(self._pid)) is not None:
            return not is_parent
        return self._process is None or not self._process.is_running()

    def is_stopped(self) -> bool:
        """Whether it does nothing until somebody lets it go on (SIGSTOP, Ctrl-Z): it cannot want its cluster."""
        try:
            return bool(psutil.Process(self._pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

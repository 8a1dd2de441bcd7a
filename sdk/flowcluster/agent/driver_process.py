"""The driver's process, observed through the process table."""

from __future__ import annotations

import psutil

from flowcluster._util import platforms


class DriverProcess:
    """The process that started the agent.

    The pipe to the driver does not show its end in every case: a process that the driver forked keeps the pipe open.

    Args:
        pid: id of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # psutil records the start of the process: another process can get the same id later.
        self._process = psutil.Process(pid) if psutil.pid_exists(pid) else None

    def is_gone(self) -> bool:
        """Return whether the driver has ended. Then this process has another parent."""
        if (is_parent := platforms.has_parent(self._pid)) is not None:
            return not is_parent
        return self._process is None or not self._process.is_running()

    def is_stopped(self) -> bool:
        """Return whether the driver is stopped, by SIGSTOP or Ctrl-Z. A stopped driver does not use its cluster."""
        try:
            return bool(psutil.Process(self._pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

"""Whether the driver is there, as the process table tells."""

from __future__ import annotations

import os

import psutil


class Driver:
    """The process that the agent was started by.

    Not asked through the pipe alone: a child that the driver forked holds that open, too.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def is_gone(self) -> bool:
        """Whether it has ended: then somebody else has adopted this process."""
        return os.getppid() != self._pid

    def is_stopped(self) -> bool:
        """Whether it does nothing until somebody lets it go on (SIGSTOP, Ctrl-Z): it cannot want its cluster."""
        try:
            return bool(psutil.Process(self._pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

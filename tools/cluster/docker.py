"""The Docker engine, where there is one."""

from __future__ import annotations

import functools

from tools.cluster.shell import succeeds


@functools.cache
def engine_answers() -> bool:
    """Whether a Docker engine, not just its command line, answers on this machine."""
    return succeeds(["docker", "version", "--format", "{{.Server.Version}}"])

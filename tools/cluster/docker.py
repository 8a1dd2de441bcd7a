"""The Docker engine, where there is one."""

from __future__ import annotations

import functools
from pathlib import Path

from tools.cluster.shell import run, succeeds


@functools.cache
def engine_answers() -> bool:
    """Whether a Docker engine, not just its command line, answers on this machine."""
    return succeeds(["docker", "version", "--format", "{{.Server.Version}}"])


def save(ref: str, archive: Path) -> Path:
    """Write an image of the engine's store to a file, for a cluster that cannot see that store."""
    run(["docker", "save", "--output", archive, ref])
    return archive

"""A flow that reports what its driver and its worker can do on their file systems."""

import os
from pathlib import Path

from flowcluster import flow, task


def is_writable(folder: str) -> bool:
    """Return whether a file can be created there. `os.access` follows the permissions, not the mount."""
    try:
        (Path(folder) / "written").write_text("")
    except OSError:
        return False
    return True


def place() -> tuple[int, bool, bool]:
    """Return the user id, and whether `/var/tmp`, where any user can write in the image, and `/tmp` are writable."""
    return os.getuid(), is_writable("/var/tmp"), is_writable("/tmp")


@task
def worker_place() -> tuple[int, bool, bool]:
    return place()


@flow
def places() -> list[tuple[int, bool, bool]]:
    return [place(), worker_place.submit().result()]

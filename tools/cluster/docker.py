"""The Docker engine, if there is one."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster.errors import ToolError
from tools.cluster.shell import find, run, succeeds

#: Before this release, Docker's command line has BuildKit built in. Since this release, buildx provides it.
_FIRST_WITH_BUILDX = 23
_HINT = (
    "Start the engine, or set DOCKER_HOST (or a context: `docker context ls`) to the one that runs. Where the socket "
    "refuses you, add your user to the group that owns it, and log in again."
)
#: Memory and free disk of an engine with which a node, the images and the runs of the demo fit (bytes).
_MEMORY, _DISK, _GIB = 3 * 2**30, 10 * 2**30, 2**30
#: How to free disk of an engine.
_FREE = "`docker system df` shows what uses it, and `docker system prune` deletes what nothing uses."
#: What to do about texts in Docker's errors.
_ADVICE = {
    "no space left on device": f"The disk of the Docker engine is full. {_FREE}",
    "port is already allocated": "Run the command again: kind then chooses another port.",
    "address already in use": "Run the command again: kind then chooses another port.",
    "fully subnetted": "Docker has no addresses left for another network. `docker network prune` deletes networks that "
    "nothing uses.",
}


@functools.cache
def trouble() -> str:
    """Return why no Docker engine answers on this machine and what to do, or an empty text if one answers."""
    if find("docker") is None:
        return "There is no program `docker` on PATH."
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], hint=_HINT)
    except ToolError as error:
        return str(error)
    return ""


def engine_answers() -> bool:
    """Return whether a Docker engine, not only its command line, answers on this machine."""
    return not trouble()


def ensure_engine(purpose: str) -> None:
    """Check that a Docker engine answers.

    Args:
        purpose: what needs the engine, for the error.

    Raises:
        ToolError: no engine answers. The message has Docker's own text and what to do.
    """
    if found := trouble():
        raise ToolError(f"{purpose} needs a Docker engine, and none answers. {found}")


def ensure_buildkit() -> None:
    """Check that `docker build` can use BuildKit, which mounts secrets.

    Raises:
        ToolError: the command line needs the plugin buildx and does not have it.
    """
    if succeeds(["docker", "buildx", "version"]):
        return
    version = run(["docker", "version", "--format", "{{.Client.Version}}"]).strip()
    release = version.partition(".")[0]
    if release.isdigit() and int(release) < _FIRST_WITH_BUILDX:
        return
    raise ToolError(
        f"`docker build` cannot build the images: the command line of Docker {version} has no buildx. Install buildx: "
        "the package is docker-buildx-plugin in Docker's own repositories, and docker-buildx in Debian, Ubuntu and "
        "Homebrew. Then `docker buildx version` prints its version."
    )


def save(ref: str, archive: Path) -> Path:
    """Write an image of the engine's store to a file, for a cluster that cannot see that store."""
    run(["docker", "save", "--output", archive, ref])
    return archive


def ensure_room() -> None:
    """Check that the engine has the memory and the disk that a node needs.

    An engine in a virtual machine or on another machine does not show its free disk.

    Raises:
        ToolError: it has less. The message has how much, and what to do.
    """
    memory, _, root = run(["docker", "info", "--format", "{{.MemTotal}} {{.DockerRootDir}}"]).strip().partition(" ")
    if int(memory) < _MEMORY:
        raise ToolError(
            f"The Docker engine has {int(memory) / _GIB:.1f} GiB of memory, and a node needs {_MEMORY / _GIB:.0f} GiB. "
            "In Docker Desktop, the settings under Resources give it more."
        )
    if (free := _free_disk(Path(root))) is not None and free < _DISK:
        raise ToolError(
            f"The Docker engine has {free / _GIB:.1f} GiB of free disk in {root}, and a node with the images needs "
            f"{_DISK / _GIB:.0f} GiB. {_FREE}"
        )


@contextmanager
def advised() -> Iterator[None]:
    """Add to an error of the block what to do, where Docker's text is known."""
    try:
        yield
    except ToolError as error:
        advice = [todo for text, todo in _ADVICE.items() if text in str(error)]
        raise ToolError("\n".join([str(error), *advice])) from None


def _free_disk(root: Path) -> int | None:
    """Return the free disk of the engine's folder (bytes); None where this machine cannot see it."""
    if not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return None
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None

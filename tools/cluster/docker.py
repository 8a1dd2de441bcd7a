"""The Docker engine, if there is one."""

from __future__ import annotations

import functools
from pathlib import Path

from tools.cluster.errors import ToolError
from tools.cluster.shell import find, run, succeeds

#: Before this release, Docker's command line has BuildKit built in. Since this release, buildx provides it.
_FIRST_WITH_BUILDX = 23
_HINT = (
    "Start the engine, or set DOCKER_HOST (or a context: `docker context ls`) to the one that runs. Where the socket "
    "refuses you, add your user to the group that owns it, and log in again."
)


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

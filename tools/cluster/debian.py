"""Debian packages that the tool needs: install missing ones, or name them in the error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tools.cluster.errors import ToolError
from tools.cluster.progress import step
from tools.cluster.shell import find, run

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def ensure(wanted: Mapping[str, str], purpose: str) -> None:
    """Install the packages of missing programs.

    Args:
        wanted: program name, or absolute path, to the Debian package that holds it.
        purpose: what needs the programs, for the error.

    Raises:
        ToolError: some are missing, and this is not Debian or this process is not root.
    """
    missing = sorted({package for program, package in wanted.items() if not _found(program)})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or find("apt-get") is None:
        raise ToolError(f"{purpose} needs programs that are not installed. Install these Debian packages: {names}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian packages for {purpose}: {names}"):
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-qq", "--no-install-recommends", *missing], env=quiet)
    still = sorted(program for program in wanted if not _found(program))
    if still:
        raise ToolError(f"installed {names}, but {', '.join(still)} cannot be found: install it by hand.")


def cni_folder() -> Path:
    """Return the folder with the container network plugins."""
    for folder in CNI_FOLDERS:
        if (folder / "ptp").exists():
            return folder
    raise ToolError("no container network plugins found: install Debian's containernetworking-plugins.")


def _found(program: str) -> bool:
    if program == "cni":
        return any((folder / "ptp").exists() for folder in CNI_FOLDERS)
    return find(program) is not None

"""Debian packages that the tool calls upon: install what is missing, or say what to install."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tools.cluster.errors import ToolError
from tools.cluster.progress import step
from tools.cluster.shell import find, run

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def ensure(wanted: Mapping[str, str], purpose: str) -> None:
    """See to it that programs exist.

    :param wanted: program name, or absolute path, to the Debian package that holds it.
    :param purpose: what needs them, for the error.
    :raises ToolError: some are missing and this is no Debian, or this process is not root.
    """
    missing = sorted({package for program, package in wanted.items() if not _found(program)})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or find("apt-get") is None:
        raise ToolError(f"{purpose} needs programs that are not here. Install (Debian's package names): {names}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian packages for {purpose}: {names}"):
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-qq", "--no-install-recommends", *missing], env=quiet)
    still = sorted(program for program in wanted if not _found(program))
    if still:
        raise ToolError(f"installed {names}, yet {', '.join(still)} cannot be found: install it by hand.")


def cni_folder() -> Path:
    """The folder with the container network plugins."""
    for folder in CNI_FOLDERS:
        if (folder / "ptp").exists():
            return folder
    raise ToolError("no container network plugins found: install Debian's containernetworking-plugins.")


def _found(program: str) -> bool:
    if program == "cni":
        return any((folder / "ptp").exists() for folder in CNI_FOLDERS)
    return find(program) is not None

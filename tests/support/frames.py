"""The frames of a traceback's text."""

from __future__ import annotations

import os
import re
from pathlib import Path

import flowcluster

_PACKAGE = Path(flowcluster.__file__).parent
#: How the path of each file of the SDK ends, wherever the SDK is.
_ENDS = tuple(f"{os.sep}{file.relative_to(_PACKAGE.parent)}" for file in _PACKAGE.rglob("*.py"))
_FILE = re.compile(r'^[ |]*File "(.+)", line \d+', re.MULTILINE)


def sdk_frames(text: str) -> list[str]:
    """Return the files of the SDK, of this process or of a worker, that a traceback shows."""
    return [file for file in _FILE.findall(text) if file.endswith(_ENDS)]

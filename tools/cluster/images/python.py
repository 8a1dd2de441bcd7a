"""The Python of the images: the minor version that runs this tool, so that a driver here and its workers agree."""

from __future__ import annotations

import sys

from tools.cluster.errors import ToolError

#: Minor version, such as ``3.11``.
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
#: Debian suites whose ``python3`` is of that minor version. A stand-in for the public image consists of their packages.
_SUITES = {"3.11": "bookworm", "3.13": "trixie"}
#: The suite of the public image, for a Python that no Debian suite has.
_ANY_SUITE = "bookworm"


def base_image(version: str = VERSION) -> str:
    """Return the full name of the public base image."""
    return f"docker.io/library/python:{version}-slim-{_SUITES.get(version, _ANY_SUITE)}"


def debian_suite(version: str = VERSION) -> str:
    """Return the Debian suite that has this Python.

    Raises:
        ToolError: no suite has it. The message has what to do.
    """
    if version not in _SUITES:
        raise ToolError(
            f"{base_image(version)} cannot be pulled here, and no Debian suite has Python {version} to make a stand-in "
            f"from. Use a Python of {' or '.join(_SUITES)} (make … PYTHON=python{min(_SUITES)}), or a machine that "
            "reaches the image registry."
        )
    return _SUITES[version]

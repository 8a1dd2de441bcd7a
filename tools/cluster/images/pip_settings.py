"""This machine's settings for pip, for builds to use and images to forget."""

from __future__ import annotations

import os
import re
import subprocess
import sys

NAMES = ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "CERT", "PROXY", "DEFAULT_TIMEOUT")


def settings() -> dict[str, str]:
    """Environment variables (``PIP_…``) that say what the environment and pip's configuration files say here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        match = re.fullmatch(r"(?:global|install)\.([a-z-]+)='(.*)'", line.strip())
        if match:
            found[match[1].upper().replace("-", "_")] = match[2].replace("\\n", " ").strip()
    for name in NAMES:
        if value := os.environ.get(f"PIP_{name}"):
            found[name] = value
    return {f"PIP_{name}": value for name, value in found.items() if name in NAMES}

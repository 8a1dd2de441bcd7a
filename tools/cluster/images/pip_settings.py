"""This machine's settings for pip, for builds to use and images to forget."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

NAMES = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy", "timeout")
VARIABLES = {"timeout": "PIP_DEFAULT_TIMEOUT"}


@contextmanager
def secret(*, cert: bool) -> Iterator[list[str]]:
    """The build arguments that hand over the settings as the secret ``pip``, a file that lasts as long as the body.

    :param cert: also hand over the path of the certificates; only where the build sees that path.
    """
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = {name: value for name, value in _settings().items() if cert or name != "cert"}
    with NamedTemporaryFile("w", prefix="flowcluster-pip-", suffix=".conf") as file:
        config.write(file)
        file.flush()
        yield ["--secret", f"id=pip,src={Path(file.name)}"]


def _settings() -> dict[str, str]:
    """What the environment says, else pip's configuration files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        match = re.fullmatch(r"(?:global|install)\.([a-z-]+)='(.*)'", line.strip())
        if match:
            found[match[1]] = match[2].replace("\\n", " ").strip()
    for name in NAMES:
        variable = VARIABLES.get(name, "PIP_" + name.upper().replace("-", "_"))
        if value := os.environ.get(variable):
            found[name] = value
    return {name: value for name, value in found.items() if name in NAMES}

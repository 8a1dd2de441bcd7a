"""This machine's settings for pip, which builds use and images do not contain."""

from __future__ import annotations

import configparser
import io
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.cluster.errors import ToolError

NAMES = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy", "timeout")
VARIABLES = {"timeout": "PIP_DEFAULT_TIMEOUT"}
#: Path of the secret `cert` in a step of a Dockerfile.
CERTIFICATES = "/run/secrets/cert"
#: Size of the largest secret that BuildKit accepts (bytes).
LARGEST_SECRET = 500 * 1024
#: Variables that pip reads when it has no setting `cert`.
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@contextmanager
def secrets() -> Iterator[list[str]]:
    """Yield the build arguments that pass the settings. Their files exist as long as the body runs.

    The secret `pip` is a configuration file. The secret `cert` has the certificates that this machine trusts, so that a
    build trusts an authority of the user's own network too. It is left out if this machine has none.

    Raises:
        ToolError: the certificates cannot be read, or are too large for a secret.
    """
    settings = _settings()
    certificates = _certificates(settings.pop("cert", ""))
    if certificates:
        settings["cert"] = CERTIFICATES
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = settings
    text = io.StringIO()
    config.write(text)
    with TemporaryDirectory(prefix="flowcluster-pip-") as folder:  # only its owner can enter it
        arguments = []
        for name, content in (("pip", text.getvalue().encode()), ("cert", certificates)):
            if content:
                (Path(folder) / name).write_bytes(content)
                arguments += ["--secret", f"id={name},src={Path(folder) / name}"]
        yield arguments


def _settings() -> dict[str, str]:
    """Return the settings of the environment, else those of pip's configuration files."""
    found: dict[str, str] = {}
    for line in _listed().splitlines():
        match = re.fullmatch(r"(?:global|install)\.([a-z-]+)='(.*)'", line.strip())
        if match:
            found[match[1]] = match[2].replace("\\n", " ").strip()
    for name in NAMES:
        variable = VARIABLES.get(name, "PIP_" + name.upper().replace("-", "_"))
        if value := os.environ.get(variable):
            found[name] = value
    return {name: value for name, value in found.items() if name in NAMES}


def _listed() -> str:
    listing = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout


def _certificates(chosen: str) -> bytes:
    """Return the certificates that pip trusts on this machine, each once, or nothing.

    Args:
        chosen: The file or folder of pip's setting `cert`; empty without that setting.
    """
    path = chosen or next((value for name in _CERTIFICATE_VARIABLES if (value := os.environ.get(name))), "")
    if not path:
        defaults = ssl.get_default_verify_paths()  # of the files and folders that OpenSSL reads, those that exist
        path = defaults.cafile or defaults.capath or ""
    if not path:
        return b""
    try:
        texts = [file.read_bytes() for file in _files(Path(path).expanduser())]
    except OSError as error:
        raise ToolError(f"the certificates for pip cannot be read: {error}. pip's setting `cert` names them.") from None
    found = b"\n".join(dict.fromkeys(block for text in texts for block in _CERTIFICATE.findall(text)))
    if len(found) > LARGEST_SECRET:
        raise ToolError(
            f"the certificates of {path} have {len(found)} bytes, and an image build takes at most {LARGEST_SECRET}. "
            "Set PIP_CERT to a file with the authorities that the package index and its proxies need."
        )
    return found + b"\n" if found else b""


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]

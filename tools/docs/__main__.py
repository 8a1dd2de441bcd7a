"""Build the documentation's site: ``python -m tools.docs [--output DIRECTORY]``.

A warning of MkDocs ends the build: a broken link, a page that the navigation lacks, a name that does not exist. The
build fetches nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(output: Path) -> int:
    """Build the site into a folder, which is emptied first, and return the exit code of MkDocs."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--site-dir", str(output)]
    # mkdocs-material prints a notice about its end of life and its successor, unless this variable is set.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "true"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Build the site and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description="Build the documentation's site.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="the folder of the site")
    output = parser.parse_args().output.resolve()
    code = build(output)
    if code == 0:
        print(f"open {output / 'index.html'}")
        # A browser starts no worker, which the search needs, for a page that it reads from a file.
        print(f"to search, too: python -m http.server --directory {output}, and open http://localhost:8000")
    return code


if __name__ == "__main__":
    sys.exit(main())

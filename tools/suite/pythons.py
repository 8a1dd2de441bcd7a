"""The unit tests and the contract tests on another Python: ``python -m tools.suite.pythons 3.12``.

The environment of that Python is made in ``build/``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.suite.parts import BUILD, ROOT


def find(version: str) -> Path | None:
    """Return an interpreter of a minor version, on PATH or else among pyenv's, or None."""
    return next((path for path in _candidates(version) if _is(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python"))


def _is(interpreter: Path, version: str) -> bool:
    """Return whether it runs and has that version: pyenv's shims exist for Pythons that are not selected."""
    query = [str(interpreter), "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() == version


def main(version: str) -> int:
    """Run the tests on that Python. Return make's exit code, or 1 if there is no such Python."""
    interpreter = find(version)
    if interpreter is None:
        print(
            f"error: no Python {version} here: put python{version} on PATH, or install it with pyenv", file=sys.stderr
        )
        return 1
    environment = BUILD.with_name(f"python-{version}").relative_to(ROOT)
    command = ["make", "--no-print-directory", f"PYTHON={interpreter}", f"VENV={environment}", "unit", "contract"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

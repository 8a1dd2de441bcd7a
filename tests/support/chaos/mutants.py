"""Plant bugs into copies of the operator and see that chaos trials find them.

Run as ``python -m tests.support.chaos.mutants FILE``. FILE is YAML, a list of bugs:

    - name: a second Job after a conflict
      file: operator/flowcluster_operator/reconcile/apply.py
      old: "return await _adopt(resource, name, key, store, kube)"
      new: "return None"
      trials: ["success/Dask/drop-answer*"]

Each bug is planted into a copy of this checkout's `operator` and `sdk`, and its trials are run with that operator. The
bug is found when one of them fails. Choose trials that pass with the operator as it is. Exits with 1 when a bug was not
found.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

from tests.support.rig.client import Body
from tests.support.world import ROOT

_TREES = ("operator", "sdk")
_MINUTES = "10"


def planted(bug: Body, folder: pathlib.Path) -> pathlib.Path:
    """Copy the operator into a folder and plant a bug. Raises ValueError when its text does not occur exactly once."""
    for tree in _TREES:
        shutil.copytree(ROOT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / bug["file"]
    text = file.read_text()
    if text.count(bug["old"]) != 1:
        raise ValueError(
            f"{bug['name']}: the old text occurs {text.count(bug['old'])} times in {bug['file']}, not once"
        )
    file.write_text(text.replace(bug["old"], bug["new"]))
    return folder


def is_found(bug: Body) -> bool:
    """Run a bug's trials; whether one of them fails."""
    with tempfile.TemporaryDirectory() as folder:
        copy = planted(bug, pathlib.Path(folder))
        command = [sys.executable, "-m", "tests.support.chaos", "--operator", str(copy), "--minutes", _MINUTES]
        return subprocess.run([*command, *bug["trials"]], cwd=ROOT, check=False).returncode == 1


def main() -> int:
    """Try all bugs of the file; 0 when all were found."""
    bugs = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
    found = {bug["name"]: is_found(bug) for bug in bugs}
    for name, result in found.items():
        sys.stdout.write(f"{'found' if result else 'NOT FOUND':10} {name}\n")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

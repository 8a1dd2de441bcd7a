"""Plant bugs into copies of the operator, and check that chaos trials find them.

Run as ``python -m tests.support.chaos.mutants [FILE]``. FILE is YAML, a list of bugs; by default ``mutants.yaml``:

    - name: the Secret of another party is used
      file: operator/flowcluster_operator/reconcile/apply.py
      old: "except (Refused, NotFound) as error:"
      new: "except (Refused, NotFound, Conflict) as error:"
      trial: success/Dask/refuse-409@POST-secrets
      problem: "created: 0 Secret"

Each bug is planted into a copy of this checkout's `operator` and `sdk`, and its trial is run with that operator. The
bug is found when the verdict has a problem that contains the text. The trial passes with the operator as it is: choose
one that `tests/integration/test_chaos.py` runs. Exits with 1 when a bug was not found.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import yaml

from tests.support.chaos.plan import named
from tests.support.chaos.report import Judged
from tests.support.chaos.suite import AT_A_TIME, Suite
from tests.support.rig.rig import Rig
from tests.support.world import ROOT

FILE = pathlib.Path(__file__).with_name("mutants.yaml")
_TREES = ("operator", "sdk")


@dataclasses.dataclass(frozen=True)
class Bug:
    """One bug.

    Attributes:
        name: what the operator does wrong.
        file: where it is planted, from the root of the checkout.
        old: a text that occurs there once.
        new: what replaces it.
        trial: the name of the trial that finds it.
        problem: a part of the sentence that the verdict then has.
    """

    name: str
    file: str
    old: str
    new: str
    trial: str
    problem: str


def bugs(file: pathlib.Path = FILE) -> list[Bug]:
    """Return the bugs of a file."""
    return [Bug(**item) for item in yaml.safe_load(file.read_text())]


def planted(bug: Bug, folder: pathlib.Path) -> pathlib.Path:
    """Copy the operator into a folder and plant a bug. Raises ValueError when its text does not occur exactly once."""
    for tree in _TREES:
        shutil.copytree(ROOT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / bug.file
    text = file.read_text()
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: the old text occurs {text.count(bug.old)} times in {bug.file}, not once")
    file.write_text(text.replace(bug.old, bug.new))
    return folder


def is_found(bug: Bug, judged: Sequence[Judged]) -> bool:
    """Return whether a verdict has the problem of the bug."""
    return any(bug.problem in problem for one in judged for problem in one.problems)


def _tried(bug: Bug, rig: Rig, folder: pathlib.Path) -> list[Judged]:
    folder.mkdir()
    suite = Suite(rig, lambda _judged: None, tree=planted(bug, folder))
    try:
        suite.run_with_references([named(bug.trial)])
    finally:
        suite.close()
    return suite.judged


def main() -> int:
    """Try all bugs of the file, and return 0 when all were found."""
    planned = bugs(*map(pathlib.Path, sys.argv[1:2]))
    # Half of the trials at a time: each bug has a reference, too.
    with tempfile.TemporaryDirectory() as folder, Rig() as rig, ThreadPoolExecutor(AT_A_TIME // 2) as pool:
        folders = [pathlib.Path(folder) / str(number) for number in range(len(planned))]
        verdicts = list(pool.map(lambda bug, place: _tried(bug, rig, place), planned, folders))
    missed = 0
    for bug, judged in zip(planned, verdicts, strict=True):
        found = is_found(bug, judged)
        missed += not found
        sys.stdout.write(f"{'found' if found else 'NOT FOUND':10} {bug.name}\n")
        if not found:
            sys.stdout.write("".join(f"{one.text()}\n" for one in judged))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run parts of the checks and tests: ``python -m tools.suite PART …``.

The parts run one after the other, each to its end, also after a part that failed. While the first parts run, the tool
starts a Kubernetes for the parts that need one. The part `rig` runs at the same time as the part `alone`.

At the end, the tool prints the seconds of the parts and the slowest tests. With ``--coverage``, it also prints the
branch coverage of all tests of the run, which must reach the floor in pyproject.toml.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence

from tools.suite import coverage
from tools.suite.commands import Background, foreground
from tools.suite.parts import BUILD, PARTS, Part
from tools.suite.report import read_report, times

_PREPARE = ("tools.suite.prepare",)


class Run:
    """One run of some parts.

    Attributes:
        seconds: duration of each part that has run, by its name.
        failed: names of the parts that failed.
    """

    def __init__(self, parts: Sequence[Part], *, with_coverage: bool) -> None:
        self._parts = parts
        self._with_coverage = with_coverage
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def go(self) -> None:
        """Run the parts. Install the cluster while the first parts run."""
        BUILD.mkdir(parents=True, exist_ok=True)
        for report in BUILD.glob("*.xml"):
            report.unlink()
        coverage.clear()
        install = Background(_PREPARE) if any(part.needs_cluster for part in self._parts) else None
        try:
            names = {part.name for part in self._parts}
            for part in self._parts:
                if part.beside in names:
                    continue
                if part.needs_cluster and install is not None and "install" not in self.seconds:
                    self._timed("install", install.finish)
                self._run_with_those_beside(part)
        finally:
            if install is not None:
                install.stop()
        if self._with_coverage:
            self._timed("coverage", coverage.report)

    def report(self) -> str:
        """Return the text that is printed at the end."""
        tests = [test for part in self._parts if part.is_tests for test in read_report(BUILD / f"{part.name}.xml")]
        ending = f"failed: {', '.join(self.failed)}" if self.failed else "all parts succeeded"
        return f"{times(self.seconds, tests)}\n\n{ending}"

    def _run_with_those_beside(self, part: Part) -> None:
        """Run a part, and at the same time those that run beside it. Show their output after that of the part."""
        began = time.monotonic()
        beside = {
            other.name: [Background(command) for command in other.commands]
            for other in self._parts
            if other.beside == part.name
        }
        try:
            if part.needs_cluster and "install" in self.failed:
                self.failed.append(part.name)
            else:
                self._timed(part.name, lambda: self._run(part))
            for name, running in beside.items():
                self._timed(name, lambda running=running: _finish(running), began)  # type: ignore[misc]
        finally:
            for command in itertools.chain.from_iterable(beside.values()):
                command.stop()

    def _run(self, part: Part) -> bool:
        if part.is_tests:
            (command,) = part.commands
            return (
                foreground(coverage.measured(command), coverage.environment())
                if self._with_coverage and part.is_measured
                else foreground(command)
            )
        return _finish([Background(command) for command in part.commands])

    def _timed(self, name: str, run: Callable[[], bool], began: float | None = None) -> None:
        print(f"\n=== {name}", flush=True)
        began = time.monotonic() if began is None else began
        if not run():
            self.failed.append(name)
        self.seconds[name] = time.monotonic() - began


def _finish(running: Sequence[Background]) -> bool:
    """Wait for the end of commands and show what they print, one after the other. Return whether all succeeded."""
    ended = [command.finish() for command in running]
    return all(ended)


def main() -> int:
    """Run the parts of the command line, and return 0 if all succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--coverage", action="store_true", help="measure the branch coverage of the tests")
    options = parser.parse_args()
    # With this variable, each of the thousand processes of the tests would compile the SDK, and pytest each test file.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    run = Run([PARTS[name] for name in options.parts], with_coverage=options.coverage)
    try:
        run.go()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(run.report(), flush=True)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Shared parts of the SDK's bench scripts: options, alternating measurements, and a table with bounds."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping


def options(description: str | None, tasks: int, repeats: int = 5) -> argparse.Namespace:
    """Return the numbers of tasks and repeats of the command line. With ``--quick`` both are small.

    Bounds apply to the full size: a quick run only shows that the script works.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks, and two repeats")
    parser.add_argument("--tasks", type=int, default=tasks)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--only", default="", help="comma-separated task runners, such as concurrent,dask")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.tasks, chosen.repeats = max(1, chosen.tasks // 10), min(2, chosen.repeats)
    return chosen


def expect_other_patch_release() -> None:
    """Silence Dask's warning about Python's patch release, which differs in the image."""
    from distributed.versions import VersionMismatchWarning

    warnings.simplefilter("ignore", VersionMismatchWarning)


def medians(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Return the median of each measure. They alternate, so that a slow minute of the machine affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(repeats):
        sys.stderr.write(f"  {', '.join(measures)}: {number + 1} of {repeats}\n")
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}


@contextlib.contextmanager
def logging_at(level: int) -> Iterator[None]:
    """Let the SDK log from `level` on, and discard its lines, in the block."""
    logger = logging.getLogger("flowcluster")
    before = logger.level
    logger.setLevel(level)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            yield
        finally:
            logger.setLevel(before)


class Table:
    """Figures with their bounds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: list[tuple[str, str, str, str]] = []
        self.missed: list[str] = []

    def row(self, what: str, value: float, unit: str, bound: float | None = None, digits: int = 2) -> None:
        """Add a figure. One above its bound makes the script fail."""
        verdict = ""
        if bound is not None:
            verdict = "PASS" if value <= bound else "over"
            if value > bound:
                self.missed.append(what)
        self._rows.append((what, f"{value:.{digits}f} {unit}", "" if bound is None else f"{bound:g} {unit}", verdict))

    def text(self, what: str, found: str, is_good: bool | None = None) -> None:
        """Add a text."""
        if is_good is False:
            self.missed.append(what)
        self._rows.append((what, found, "", "" if is_good is None else "PASS" if is_good else "over"))

    def show(self) -> None:
        """Print the table."""
        rows = [(self._title, "median", "bound", ""), *self._rows]
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        for what, value, bound, verdict in rows:
            print(f"{what:<{first}}  {value:>{second}}  {bound:>{third}}  {verdict}".rstrip())

    def finish(self) -> None:
        """Print the table and end the script, with code 1 if a bound is exceeded."""
        self.show()
        raise SystemExit(1 if self.missed else 0)

"""The report at the end of a run: the durations of its parts and of its slowest tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

#: How many of the slowest tests are listed.
SLOWEST = 30


@dataclass(frozen=True, order=True)
class Timed:
    """One test: its seconds with setup and teardown, and its name."""

    seconds: float
    name: str


def read_report(report: Path) -> list[Timed]:
    """Return the tests of a JUnit report. There is no report if pytest was stopped."""
    if not report.exists():
        return []
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return [Timed(float(case.get("time", 0)), f"{case.get('classname')}::{case.get('name')}") for case in cases]


def times(parts: Mapping[str, float], tests: Iterable[Timed]) -> str:
    """Return the table of parts and the list of the slowest tests, as text."""
    lines = ["", "Seconds of the parts"]
    lines += [f"{seconds:8.1f}  {name}" for name, seconds in parts.items()]
    slowest = sorted(tests, reverse=True)[:SLOWEST]
    if slowest:
        lines += ["", f"Seconds of the slowest {len(slowest)} tests, with setup and teardown"]
        lines += [f"{test.seconds:8.1f}  {test.name}" for test in slowest]
    return "\n".join(lines)

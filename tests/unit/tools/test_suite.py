"""How the tests of the project are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import unmeasured
from tools.suite.__main__ import Run
from tools.suite.parts import Part
from tools.suite.report import Timed, read_report, times

GROUPED = """
import os
import pytest

@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("one")
def test_where(number, record_property):
    record_property("process", os.getpid())
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JUnit report of eight tests of one group, run in two processes."""
    folder = tmp_path_factory.mktemp("grouped")
    (folder / "test_grouped.py").write_text(GROUPED)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "--junitxml=report.xml"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=unmeasured.environment())
    return folder / "report.xml"


@pytest.mark.processes
@pytest.mark.xdist_group("grouped")  # they use one report
def test_group_of_tests_runs_in_one_process(report: Path) -> None:
    """A pytest that pytest-xdist does not understand would spread a group over all processes, and still pass."""
    processes = {part.split('"')[0] for part in report.read_text().split('name="process" value="')[1:]}

    assert len(processes) == 1


@pytest.mark.processes
@pytest.mark.xdist_group("grouped")
def test_report_has_every_test(report: Path) -> None:
    assert len(read_report(report)) == 8


@pytest.mark.processes
def test_part_runs_beside_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two waits for the other one."""
    monkeypatch.setattr("tools.suite.__main__.BUILD", tmp_path)
    monkeypatch.setattr("tools.suite.coverage._FOLDER", tmp_path / "coverage")
    for pipe in ("first", "second"):
        os.mkfifo(tmp_path / pipe)
    write, read = f"open('{tmp_path}/%s', 'w').close()", f"open('{tmp_path}/%s').read()"
    parts = [
        Part("guest", (("python", "-c", f"{read % 'first'}; {write % 'second'}"),), beside="host"),
        Part("host", (("python", "-c", f"{write % 'first'}; {read % 'second'}"),)),
        Part("last", (("python", "-c", "raise SystemExit(1)"),), beside="absent"),
    ]
    run = Run(parts, with_coverage=False)
    run.go()

    assert list(run.seconds) == ["host", "guest", "last"]
    assert run.failed == ["last"]


def test_times_list_the_slowest_tests_first() -> None:
    shown = times({"unit": 61.25}, [Timed(0.1, "a::quick"), Timed(7.0, "b::slow")])

    assert "    61.2  unit" in shown
    assert shown.index("b::slow") < shown.index("a::quick")

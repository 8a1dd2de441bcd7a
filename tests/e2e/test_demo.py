"""The demo, as a new user runs it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.world import ROOT
from tools.install import Installed

pytestmark = pytest.mark.timeout(600)

#: What differs between runs: times of day, seconds, ages, the causes for which a start waits, and generated names.
_VARYING = (
    (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"\[ *\d+\.\ds\]", "SECONDS"),
    (r"(Starting   waiting for ).*", r"\1…"),
    (r" \d+[ms][\dms]*( |$)", r" AGE\1"),
    (r"Flow run '[a-z]+-[a-z]+'", "Flow run 'NAME'"),
    (r"\b[a-z]+-[a-z]+-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "NAME"),
    (r" +", " "),
)
#: A line that a busy machine does not print for the first flow, which takes a second. The flow can end before the
#: kubelet reports its cluster as ready. Then the run passes from Starting to Stopping.
_MISSING_AT_TIMES = "SECONDS Running the flow runs"
#: What a demo that succeeds does not print.
_TROUBLE = re.compile(r"Traceback|Warning|WARNING:|\| (ERROR|CRITICAL|WARNING)")


def alike(text: str) -> list[str]:
    """Return the lines of a text, with what differs between runs replaced."""
    for pattern, replacement in _VARYING:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text.splitlines()


def by_source(text: str) -> dict[str, list[str]]:
    """Return the lines by what stands before their bar: those of the demo itself, of drivers, of Python programs."""
    found: dict[str, list[str]] = {}
    for line in alike(text):
        before, bar, _ = line.partition("│")
        found.setdefault(before if bar else "", []).append(line)
    return found


def test_demo_prints_what_the_readme_shows(installed: Installed) -> None:
    """The README's lines are printed in their order. A run that succeeds shows no error and no traceback."""
    readme = (ROOT / "README.md").read_text()
    promised = by_source(readme.partition("<!-- demo:")[2].partition("```console\n")[2].partition("```")[0])
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where kubectl prints that there is nothing
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert len(promised) == 3
    for source, lines in by_source(done.stdout).items():  # how sources mix depends on how soon each is read
        printed = iter(lines)
        for line in promised.pop(source, []):
            assert line == _MISSING_AT_TIMES or line in printed, (
                f"{line!r} is missing, or comes too early, in:\n{done.stdout}"
            )
    assert not promised, f"no line of {set(promised)} in:\n{done.stdout}"
    assert not _TROUBLE.search(done.stdout), done.stdout

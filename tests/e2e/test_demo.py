"""The demo, as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.world import ROOT
from tools.install import Installed

pytestmark = pytest.mark.timeout(300)

#: What differs from run to run: times of day, seconds, ages, and all that a start waits for.
_VARYING = (
    (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"\[ *\d+\.\ds\]", "SECONDS"),
    (r"(Starting   waiting for ).*", r"\1…"),
    (r" \d+[ms][\dms]* ", " AGE "),
    (r" +", " "),
)


def alike(text: str) -> list[str]:
    """Return the lines of a text, with what varies made equal."""
    for pattern, replacement in _VARYING:
        text = re.sub(pattern, replacement, text)
    return text.splitlines()


def test_demo_prints_what_the_readme_shows(installed: Installed) -> None:
    """The README's lines come in their order; a run that ends well shows no error and no traceback."""
    readme = (ROOT / "README.md").read_text()
    promised = readme.partition("<!-- demo:")[2].partition("```console\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where kubectl prints that there is nothing
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    for is_log in (True, False):  # how the log and the phases mix depends on how soon each is read
        printed = iter(line for line in alike(done.stdout) if ("│" in line) is is_log)
        for line in (line for line in alike(promised) if ("│" in line) is is_log):
            assert line in printed, f"{line!r} is missing, or comes too early, in:\n{done.stdout}"
    assert not re.search(r"Traceback|\| (ERROR|CRITICAL|WARNING)", done.stdout), done.stdout

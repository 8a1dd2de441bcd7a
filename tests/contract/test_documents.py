"""The blocks of the documents that need no Kubernetes: each page's files and commands, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import unmeasured
from tests.support.documents import HERE, missing, steps

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): steps(path, HERE) for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
}
#: Seconds for one command of a page, on a machine that does much else: each takes a few seconds by itself.
DEADLINE = 240

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("page", sorted(name for name, found in PAGES.items() if found))
def test_commands_of_the_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = unmeasured.environment() | {"PATH": path, "PYTHONWARNINGS": "ignore:Port 8787 is already in use"}

    for step in PAGES[page]:
        if step.file is not None:
            (tmp_path / step.file).write_text(step.text, encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-c", step.text],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, f"{step.text}\n{done.stdout}"
        assert missing(step.shown, done.stdout) == [], f"{step.text}\n{done.stdout}"


def test_pages_have_blocks_that_run_here() -> None:
    assert sum(len(found) for found in PAGES.values()) > 20

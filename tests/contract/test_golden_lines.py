"""The output of whole programs, compared with texts in `golden/`: users rely on the format of the log.

Times, names of runs and addresses differ from run to run. The texts have TIME, FLOW-1 and HOST in their place, and
KEY-1 in place of the key of the first task. To change a text on purpose, edit it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from flowcluster._util import words
from tests.support import unmeasured

GOLDEN = Path(__file__).parent / "golden"
FLOWS = Path(__file__).parent / "flows"
EXAMPLES = Path(__file__).parents[2] / "examples"

RUN_NAME = re.compile(rf"'((?:{'|'.join(words.ADJECTIVES)})-(?:{'|'.join(words.ANIMALS)}))'")
TASK_KEY = re.compile(r"-([0-9a-f]{8})-(\d+)'")


def written(*command: str, directory: Path) -> str:
    """Return what a program writes to stdout and stderr, in order, with what differs each time replaced."""
    environment = {**unmeasured.environment(), "PYTHONUNBUFFERED": "1"}
    environment.pop("FLOWCLUSTER_LOGGING_LEVEL", None)
    done = subprocess.run(
        # Where another program has Dask's usual dashboard port, a second cluster warns about taking another one.
        [sys.executable, "-W", "ignore:Port 8787 is already in use", *command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text = re.sub(r"(?m)^\d\d:\d\d:\d\d\.\d{3} ", "TIME ", done.stdout)
    text = re.sub(r"http://[\d.]+:\d+/", "http://HOST/", text).replace(f"{directory}{os.sep}", "")
    for number, name in enumerate(dict.fromkeys(RUN_NAME.findall(text)), 1):
        text = text.replace(f"'{name}'", f"'FLOW-{number}'")
    for number, key in enumerate(dict.fromkeys(key for key, _ in TASK_KEY.findall(text)), 1):
        text = text.replace(f"-{key}-", f"-KEY-{number}-")
    return text


def test_flow_with_a_subflow_on_dask() -> None:
    """Each line has its logger, its text and its place, from the created run to the finished one."""
    assert written("dask_subflow.py", directory=EXAMPLES) == (GOLDEN / "dask_subflow.txt").read_text()


def test_flow_whose_tasks_fail() -> None:
    """A failed task has its traceback once, without the SDK's frames. Downstream runs name it."""
    assert written("failing.py", directory=FLOWS) == (GOLDEN / "failing.txt").read_text()

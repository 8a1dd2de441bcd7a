"""The nursery forks operators that behave as ones that were started from a shell."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.rig.nursery import Nursery
from tests.support.rig.process import free_port
from tests.support.waiting import wait_until
from tests.support.world import ROOT

pytestmark = pytest.mark.processes


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    nursery.start()
    yield nursery
    nursery.stop()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings that lead to a port at which no API server listens."""
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    return {"PYTHONPATH": f"{ROOT / 'sdk'}:{ROOT / 'operator'}", "KUBECONFIG": str(path)}


def test_operator_prints_into_its_log_and_reports_its_exit_code(
    nursery: Nursery, environment: dict[str, str], tmp_path: Path
) -> None:
    operator = nursery.fork({**environment, "FLOWCLUSTER_MAX_WORKERS": "many"}, tmp_path / "log")

    assert operator.wait() == 1
    assert "FLOWCLUSTER_MAX_WORKERS" in (tmp_path / "log").read_text()


def test_operator_of_another_checkout_runs_its_own_code(
    nursery: Nursery, environment: dict[str, str], tmp_path: Path
) -> None:
    """The nursery has imported that of this one already."""
    folders = [tmp_path / name for name in ("sdk", "operator")]
    for folder in folders:
        shutil.copytree(ROOT / folder.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = tmp_path / "operator/flowcluster_operator/settings.py"
    settings.write_text(settings.read_text().replace("must be a whole number", "has to be a whole number"))
    wrong = {**environment, "PYTHONPATH": ":".join(map(str, folders)), "FLOWCLUSTER_MAX_WORKERS": "many"}

    assert nursery.fork(wrong, tmp_path / "log").wait() == 1
    assert "has to be a whole number" in (tmp_path / "log").read_text()


def test_operators_run_side_by_side_and_are_killed_one_by_one(
    nursery: Nursery, environment: dict[str, str], tmp_path: Path
) -> None:
    logs = [tmp_path / "first", tmp_path / "second"]
    first, second = (nursery.fork(environment, log) for log in logs)
    wait_until(lambda: all(log.exists() and "serving" in log.read_text() for log in logs), "both run", 30)
    first.signal_kill()

    assert first.wait() == -signal.SIGKILL
    assert second.memory() > 0
    second.signal_kill()
    assert second.wait() == -signal.SIGKILL
    assert nursery.cpu_seconds() > 0


def test_operator_ends_with_the_nursery(nursery: Nursery, environment: dict[str, str], tmp_path: Path) -> None:
    operator = nursery.fork(environment, tmp_path / "log")
    nursery.stop()

    assert operator.wait() == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{operator.pid}").exists(), "the process is gone", 10)

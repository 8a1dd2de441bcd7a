"""The engine of these tests, beside whatever else the machine runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import docker_engine
from tools.cluster.processes import PROC
from tools.cluster.shell import run


def processes_of(folder: Path) -> list[str]:
    found = []
    for entry in PROC.glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it ended meanwhile
        if str(folder) in command:
            found.append(command)
    return found


def interfaces_and_rules() -> str:
    return "\n".join([*os.listdir("/sys/class/net"), run(["iptables-save"])])


@pytest.mark.timeout(600)
def test_engine_leaves_nothing_on_the_machine_but_its_folder(tmp_path: Path) -> None:
    with docker_engine.running(tmp_path) as engine:
        assert engine.docker("network", "inspect", "bridge")
        assert processes_of(tmp_path) != []
        assert "docker" not in interfaces_and_rules().lower()

    assert processes_of(tmp_path) == []
    assert "docker" not in interfaces_and_rules().lower()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert list(Path("/sys/fs/cgroup").glob(f"**/{engine.cgroup}")) == []

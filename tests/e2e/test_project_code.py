"""Modules and packages of a project reach the workers in pods."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.world import FLOWS, World
from tools.install import Installed

pytestmark = pytest.mark.timeout(300)

#: `make test` runs the kind that starts faster.
either_kind = pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])


def submitted(world: World, where: dict[str, Any], kind: str, flow: str, parameters: str) -> str:
    """Submit a flow with a worker of its own, wait for its end, and return the last line that is shown."""
    entrypoint = flow if kind == "Dask" else f"{flow}_on_ray"
    place = ["--kubeconfig", where["kubeconfig"], "-n", where["namespace"]]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "flowcluster.cli.main", "submit", str(FLOWS / entrypoint), *place),
            *("-p", parameters, "--workers", "1", "--watch"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    for run in world.runs():
        world.delete(run["metadata"]["name"])  # its code is deleted with it
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@either_kind
def test_flow_in_a_package_is_submitted_with_its_package(kind: str, world: World, where: dict[str, Any]) -> None:
    shown = submitted(world, where, kind, "shop/flows/daily.py:daily", "values=[10.0, 20.0]")

    assert shown == "result: [11.9, 23.8]"


@either_kind
def test_flow_is_submitted_with_the_modules_that_its_file_imports(
    kind: str, world: World, where: dict[str, Any]
) -> None:
    shown = submitted(world, where, kind, "shop_report.py:report", "nets=[10.0, 20.0]")

    assert shown == "result: [[11.9, 11.9], [23.8, 23.8]]"


@either_kind
def test_program_outside_brings_its_modules_to_the_workers(
    kind: str, world: World, installed: Installed, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    config = yaml.safe_load(installed.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = world.namespace
    kubeconfig.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, str(FLOWS / "shop_report.py"), kind],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    # Ray's autoscaler prints to a driver, too, when a worker starts late.
    assert done.stdout.splitlines()[-1] == "report [[11.9, 11.9], [23.8, 23.8]]"

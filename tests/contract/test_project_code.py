"""Workers get the modules beside the script, and two flow runs on one cluster each use their own."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import unmeasured

PROJECT = Path(__file__).parent / "flows" / "project"


def run(folder: Path, tax: str, runner: str, address: str) -> str:
    """Run the script of a copy of the project with the tax `tax` on a cluster, and return what it printed."""
    for file in PROJECT.rglob("*.py"):
        copy = folder / file.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text().replace("TAX = 0.19", f"TAX = {tax}"))
    environment = {
        **unmeasured.environment(),
        "FLOWCLUSTER_LOGGING_LEVEL": "WARNING",
        "RAY_AUTH_MODE": "disabled",
    }
    command = [sys.executable, str(folder / "price_list.py"), runner, address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(tax: str) -> str:
    """Return what the script prints: results of the workers, which are instances of its own classes."""
    gross = 10.0 * (1 + float(tax))
    return (
        f"gross {gross:.2f}\nlarge 1000 True\ninside {tax}\nnested {gross:.2f}\nprocesses True True\n"
        "pickled True False\nerror True no price\n"
    )


@pytest.mark.parametrize("kind", ["dask by address", "ray by address", "ray by client"])
def test_runs_have_their_own_modules_when_they_share_a_cluster(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "dask by address":
        runner, address = "Dask", request.getfixturevalue("cluster").scheduler_address
    else:
        head = request.getfixturevalue("ray_head")
        runner, address = "Ray", head.client_address if kind == "ray by client" else head.address

    with ThreadPoolExecutor() as threads:
        printed = threads.map(lambda tax: run(tmp_path / tax, tax, runner, address), ("0.19", "0.5"))

        assert list(printed) == [expected("0.19"), expected("0.5")]

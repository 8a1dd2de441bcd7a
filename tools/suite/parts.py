"""The parts of a run, and the commands of each."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Folder of the reports and the coverage data of a run on this Python.
BUILD = ROOT / "build" / "tests-{}.{}".format(*sys.version_info)
#: Environment variable with the number of tests at a time on a cluster.
ENV_AT_A_TIME = "FLOWCLUSTER_TESTS_AT_A_TIME"
_CPUS = os.cpu_count() or 1
#: Number of tests that run at the same time: without a cluster, on a cluster, and on a cluster with an operator for
#: each test. On a cluster, tests wait for pods half of the time.
WITHOUT, ON_A_CLUSTER, WITH_OPERATOR = _CPUS, int(os.environ.get(ENV_AT_A_TIME, min(_CPUS + 1, 8))), _CPUS


@dataclass(frozen=True)
class Part:
    """One part of a run.

    Attributes:
        name: as on the command line.
        commands: each a program of the environment, or a module, with its arguments. They run at the same time.
        is_tests: whether the only command is pytest. Its output is shown immediately.
        is_measured: whether the coverage of the tests is measured, in a run that measures it.
        needs_cluster: whether it needs a Kubernetes with the chart installed.
        beside: the part that leaves CPUs idle and beside which this part runs, in a run that has both.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    is_tests: bool = False
    is_measured: bool = True
    needs_cluster: bool = False
    beside: str = ""


def _tests(
    name: str,
    *arguments: str,
    at_a_time: int = 0,
    is_measured: bool = True,
    needs_cluster: bool = False,
    beside: str = "",
) -> Part:
    report = f"--junitxml={BUILD / f'{name}.xml'}"
    spread = ("--numprocesses", str(at_a_time), "--dist", "loadgroup") if at_a_time else ()
    command = ("pytest", report, *spread, *arguments)
    return Part(name, (command,), True, is_measured, needs_cluster, beside)


_FOLDERS = ("tests/integration", "tests/e2e")
PARTS = {
    part.name: part
    for part in (
        Part(
            "lint",
            (
                ("ruff", "format", "--check", "."),
                ("ruff", "check", "."),
                ("mypy",),
                ("lint-imports", "--no-logo", "--no-cache"),
                ("codespell",),
                ("tools.generate", "--check"),
            ),
        ),
        _tests("unit", "tests/unit", at_a_time=WITHOUT),
        # A part of the unit tests that ends within a minute.
        _tests("pure", "--hypothesis-profile=quick", "-m", "not processes", "tests/unit", at_a_time=WITHOUT),
        _tests("contract", "-m", "not long", "tests/contract", at_a_time=WITHOUT),
        _tests(
            "cluster",
            "-m",
            "not away and not alone and not rig and not long",
            *_FOLDERS,
            at_a_time=ON_A_CLUSTER,
            needs_cluster=True,
        ),
        _tests("away", "-m", "away and not long", *_FOLDERS, at_a_time=WITH_OPERATOR, needs_cluster=True),
        # The trials of the sample already run at the same time. Other tests measure the operators that they start.
        _tests("rig", "-m", "rig and not long", "tests/integration", is_measured=False, beside="alone"),
        _tests("alone", "-m", "alone and not long", *_FOLDERS, needs_cluster=True),
        Part("granted", (("tools.granted",),), needs_cluster=True),
        _tests("long", "-m", "long", "tests/contract", *_FOLDERS, needs_cluster=True),
        # It starts a Docker engine of its own, which ends with the tests.
        _tests("docker", "tests/docker"),
        Part("soak", (("tests.bench.soak", "--quick"),), needs_cluster=True),
        *(Part(f"python{version}", (("tools.suite.pythons", version),)) for version in ("3.11", "3.12", "3.13")),
    )
}

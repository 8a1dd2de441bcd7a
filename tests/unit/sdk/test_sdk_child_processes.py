"""Processes that tasks start with multiprocessing get the code of the project and of the script."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from flowcluster.project import modules
from flowcluster.project.source import PREFIX, Project, Reference, Source
from flowcluster.runners import child_processes

WAYS = ("fork", "spawn", "forkserver")

SCRIPT = """
class Row:
    def __init__(self, number): self.number = number
def row(number): return Row(number)
def number_of(row): return row.number
def imports(number):
    import beside
    return beside.double(number)
"""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Return a project whose task this process executes, as a worker does."""
    import builtins
    import importlib

    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    monkeypatch.setattr(importlib, "import_module", importlib.import_module)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in ("_loaded", "_users"):
        monkeypatch.setattr(modules, name, {})
    source = Source("/project/beside.py", False, b"def double(number): return 2 * number\n")
    project = Project({"beside": source}, frozenset({"__main__"}))
    with modules.using(Reference(project.digest, "place"), lambda _: project.packed):
        child_processes.prepare()
        yield project
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


@pytest.mark.processes
@pytest.mark.parametrize("way", WAYS)
def test_pool_calls_functions_of_the_project_and_of_the_script(way: str, project: Project) -> None:
    script: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, script)
    double = modules.resolve("", "beside", "double")

    with multiprocessing.get_context(way).Pool(1) as pool:
        assert pool.apply_async(double, [2]).get(60) == 4
        assert pool.apply_async(script["imports"], [3]).get(60) == 6
        row = pool.apply_async(script["row"], [5]).get(60)
        assert type(row) is script["Row"]
        assert pool.apply_async(script["number_of"], [row]).get(60) == 5


@pytest.mark.processes
def test_executor_calls_functions_of_the_project(project: Project) -> None:
    double = modules.resolve("", "beside", "double")
    context: Any = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(double, 2).result(60) == 4


def test_function_that_its_name_leads_to_is_sent_by_its_name() -> None:
    child_processes.prepare()
    sent: Any = multiprocessing.reduction.ForkingPickler.dumps(
        [len, Project, test_executor_calls_functions_of_the_project]
    )

    assert b"cloudpickle" not in bytes(sent)
    assert b"child_processes" not in bytes(sent).replace(b"test_sdk_child_processes", b"")

"""Fixtures for tests of projects' modules."""

from __future__ import annotations

import importlib
import pickle
import shelve
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcluster.project import modules
from flowcluster.project.source import PREFIX
from flowcluster.runners import task_pickles


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a project's folder, which is the working directory and in `sys.path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset the state of this process before and after the test."""
    import builtins

    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    monkeypatch.setattr(importlib, "import_module", importlib.import_module)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in ("_loaded", "_users"):
        monkeypatch.setattr(modules, name, {})
    # Else `task_pickles.install` does nothing after a test of another file has called it.
    monkeypatch.setattr(pickle, "Pickler", task_pickles.Pickler.__base__)
    for module in (pickle, sys.modules["_pickle"], shelve):
        for name in ("dumps", "dump", "loads", "load", "Pickler", "Unpickler"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(pickle._Unpickler, "find_class", pickle._Unpickler.find_class)
    yield
    vars(pickle)["_Pickler"].reducer_override = None
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]

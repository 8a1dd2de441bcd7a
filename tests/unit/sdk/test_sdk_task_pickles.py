"""Pickles that the code of tasks writes and reads, with modules of the project and code of the script."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import shelve
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcluster import context, task
from flowcluster._util import pickling
from flowcluster.project import by_value, discovery, modules
from flowcluster.project.source import PREFIX
from flowcluster.runners import task_pickles
from flowcluster.runners.base import TaskPayload
from tests.support.projects import project_of, using, write

CLASSES = """
import enum, functools
class Outer:
    class Inner:
        def __init__(self, number): self.number = number
        def __eq__(self, other): return type(other) is type(self) and other.number == self.number
class Colour(enum.Enum):
    RED = 1
def function(): return 1
@functools.cache
def cached(): return 2
def things(): return [Outer.Inner(3), Outer, Colour.RED, function, cached]
"""


def by_functions(things: Any) -> tuple[bytes, Any]:
    data = pickle.dumps(things)
    return data, pickle.loads(data)


def by_file(things: Any) -> tuple[bytes, Any]:
    file = io.BytesIO()
    pickle.dump(things, file)
    file.seek(0)
    return file.getvalue(), pickle.load(file)


def by_library(things: Any) -> tuple[bytes, Any]:
    """Pickle as a library does that derives classes from Python's pickler in Python."""
    python: Any = pickle
    own_pickler, own_unpickler = type("Own", (python._Pickler,), {}), type("Own", (python._Unpickler,), {})
    file = io.BytesIO()
    own_pickler(file).dump(things)
    file.seek(0)
    return file.getvalue(), own_unpickler(file).load()


def by_shelf(things: Any) -> tuple[bytes, Any]:
    kept: dict[bytes, bytes] = {}
    shelf: shelve.Shelf[Any] = shelve.Shelf(kept)
    shelf["key"] = things
    return kept[b"key"], shelf["key"]


def by_imported_name(things: Any) -> tuple[bytes, Any]:
    """Pickle as a function does whose script has imported names from `pickle`."""
    dumps, loads = pickle.loads(DUMPS), pickle.loads(LOADS)
    data = dumps(things)
    return data, loads(data)


DUMPS, LOADS = pickle.dumps(pickle.dumps), pickle.dumps(pickle.loads)


@pytest.mark.parametrize("way", [by_functions, by_file, by_library, by_shelf, by_imported_name])
def test_pickle_of_a_task_has_importable_names(
    folder: Path, worker: None, way: Callable[[Any], tuple[bytes, Any]]
) -> None:
    project = project_of(beside=CLASSES)
    with using(project):
        task_pickles.install()
        things = modules.resolve("", "beside", "things")()
        data, loaded = way(things)

    assert loaded == things
    assert PREFIX.encode() not in data
    write(folder, beside=CLASSES)
    assert pickle.loads(data) == importlib.import_module("beside").things()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_task_reads_a_pickle_of_another_process(folder: Path, worker: None, protocol: int) -> None:
    write(folder, beside=CLASSES)
    beside = importlib.import_module("beside")
    data = pickle.dumps([beside.Colour.RED, beside.function, beside.Outer], protocol)
    of_older_version = b"c_flowcluster_0123456789abcdef.beside\nfunction\n."
    del sys.modules["beside"]
    (folder / "beside.py").unlink()

    with using(project_of(beside=CLASSES)):
        task_pickles.install()
        things = modules.resolve("", "beside", "things")()
        assert pickle.loads(data) == [things[2], things[3], things[1]]
        assert pickle.loads(of_older_version) is things[3]


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_task_pickles_what_its_script_defines(worker: None, protocol: int) -> None:
    """Only the process that runs the script can import the name. A worker cannot."""
    script: dict[str, Any] = {"__name__": "script_of_test"}
    exec(f"{CLASSES}\ndef task_function(): return things", script)
    module = types.ModuleType("script_of_test")
    module.__dict__.update(script)
    by_value.scripts.add("script_of_test")
    sys.modules["script_of_test"] = module
    of_script = pickle.dumps([module.Colour.RED, module.Outer, module.function], protocol)
    del sys.modules["script_of_test"]
    spec = task(script["task_function"]).spec
    run = context.TaskContext(TaskPayload(spec, "run", "flow", "", 20), context.RunInfo("run-0"), None)

    task_pickles.install()
    token = context.current.set(run)
    try:
        things = script["things"]()
        data = pickle.dumps(things, protocol)
        assert pickle.loads(of_script) == [things[2], things[1], things[3]]
    finally:
        context.current.reset(token)
        by_value.scripts.discard("script_of_test")

    loaded = pickle.loads(data)
    assert [loaded[0].number, loaded[2].value, loaded[3](), loaded[4]()] == [3, 1, 1, 2]
    # Files of users contain this name.
    assert b"flowcluster.project.plain_pickles" in data
    assert loaded[:2] == things[:2]


def test_task_pickles_other_objects_as_usual(worker: None) -> None:
    things = [1, "a", {"b": (2.5, None)}, os.path.join, dict, pickle.PickleError]
    usual = pickle.dumps(things)
    with using(project_of(beside="")):
        task_pickles.install()
        assert pickle.dumps(things) == usual
        assert repr(pickle.loads(usual)) == repr(things)


def test_worker_reads_pickles_of_the_flow_process(folder: Path, worker: None) -> None:
    """The flow process reads its own classes from names that only workers use."""
    write(folder, beside="class Item: pass\n")
    own = importlib.import_module("beside").Item
    project = discovery.find(())
    assert project

    sent = pickling.dumps(own)
    returned = f"c{project.root}.beside\nItem\n.".encode()

    assert b"resolve" in sent
    assert pickle.loads(sent) is pickle.loads(returned) is own
    assert sys.modules["beside"].__spec__ is not None
    assert sys.modules["beside"].__spec__.name == "beside"

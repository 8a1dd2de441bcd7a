"""Modules of a project in a process without their files, as on a worker."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcluster._util import pickling
from flowcluster.engine.caching.hashing import Hasher
from flowcluster.project import discovery, modules
from flowcluster.project.source import PREFIX, Project, Source, cleaned, public
from tests.support.projects import project_of, using, write


@pytest.mark.usefixtures("worker")
class TestWorker:
    """Imports of a project's modules in a process without their files."""

    def test_two_projects_have_modules_of_the_same_name(self) -> None:
        projects = [project_of(beside=f"class Item:\n    number = {number}\n") for number in (1, 2)]
        items = []
        for project in projects:
            with using(project):
                items.append(modules.resolve("", "beside", "Item"))

        assert [item.number for item in items] == [1, 2]
        assert "beside" not in sys.modules

    @pytest.mark.parametrize(
        "body",
        [
            "import other; return other",
            "from other import VALUE; import other; return other",
            "import importlib; return importlib.import_module('other')",
            "return __import__('other')",
        ],
    )
    def test_import_in_a_function_finds_its_own_project(self, body: str) -> None:
        projects = [project_of(beside=f"def run():\n    {body}\n", other=f"VALUE = {number}\n") for number in (1, 2)]
        runs = []
        for project in projects:
            with using(project):
                runs.append(modules.resolve("", "beside", "run"))

        assert [run().VALUE for run in runs] == [1, 2]  # also outside of the task, as in a thread of the task

    def test_function_of_a_script_imports_from_the_project_of_its_task(self) -> None:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec("def run():\n    import other\n    return other.VALUE\n", scope)
        values = []
        for number in (1, 2):
            with using(project_of(other=f"VALUE = {number}\n")):
                values.append(scope["run"]())

        assert values == [1, 2]

    def test_relative_imports_stay_in_the_project(self) -> None:
        sources = {
            "shop": Source("/shop/__init__.py", True, b""),
            "shop.prices": Source("/shop/prices.py", False, b"from .tax import RATE\nfrom . import tax\n"),
            "shop.tax": Source("/shop/tax.py", False, b"import shop.prices\nRATE = 0.19\n"),
        }
        with using(Project(sources, frozenset())):
            prices = modules.import_module("shop.prices")

        assert prices.RATE == prices.tax.RATE == 0.19
        assert prices.tax.shop.prices is prices

    def test_library_does_not_import_from_the_project(self) -> None:
        scope: dict[str, Any] = {"__name__": "library"}
        exec("def run():\n    import other\n", scope)
        with using(project_of(other="")), pytest.raises(ModuleNotFoundError):
            scope["run"]()

    @pytest.mark.parametrize("name", ["Item", "function", "cached", "Colour", "Outer.Inner"])
    def test_pickle_is_read_as_the_same_object(self, name: str) -> None:
        text = (
            "import enum, functools\nclass Item: pass\ndef function(): pass\n@functools.cache\ndef cached(): pass\n"
            "class Colour(enum.Enum):\n    RED = 1\nclass Outer:\n    class Inner: pass\n"
        )
        project = project_of(beside=text)
        with using(project):
            thing = modules.resolve("", "beside", name)
            data = pickling.dumps(thing)
            module = pickling.dumps(modules.import_module("beside"))

        assert pickle.loads(data) is thing
        assert pickle.loads(module) is sys.modules[f"{project.root}.beside"]

    def test_missing_module_is_named_as_in_the_project(self) -> None:
        sources = {"shop": Source("/shop/__init__.py", True, b"def run():\n    import shop.missing\n")}
        with using(Project(sources, frozenset())):
            run = modules.resolve("", "shop", "run")

        with pytest.raises(ModuleNotFoundError, match=r"^No module named 'shop\.missing' among the modules that came"):
            run()

    def test_oldest_unused_projects_are_dropped(self) -> None:
        projects = [project_of(beside=f"NUMBER = {number}\n") for number in range(modules.KEPT + 3)]
        with using(projects[0]):
            for project in projects[1:]:
                with using(project):
                    modules.import_module("beside")

        kept = [project for project in projects if modules._loaded.get(project.digest)]
        assert len(kept) == modules.KEPT
        assert kept[0] is projects[0]
        assert kept[1:] == projects[-modules.KEPT + 1 :]
        assert f"{projects[1].root}.beside" not in sys.modules


def test_digest_of_code_on_a_worker_is_that_in_the_flow_process(
    folder: Path, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache keys do not depend on the version's name. They include modules that a function imports."""
    write(
        folder,
        beside="import shop.rates\nclass Item: pass\ndef tax(): return shop.rates.RATE\ndef net(it: Item): return it\n",
        shop_slash___in__="from . import rates\ndef late():\n    from . import rates as other\n    return other.RATE\n",
        shop_slash_rates="RATE = 2\n",
        flow_of_test="def run():\n    import beside\n    from shop import late\n    return beside.tax() + late()\n",
    )
    script: dict[str, Any] = {"__name__": "__main__", "__package__": None}
    exec((folder / "flow_of_test.py").read_text(), script)
    names = (("beside", "Item"), ("beside", "tax"), ("beside", "net"), ("shop", "late"), ("shop", ""))

    def digests() -> list[bytes]:
        things = [modules.resolve("", *name) for name in names]
        item = things[0]()
        return [Hasher().digest(thing, "it") for thing in (*things, item, script["run"])]

    in_flow = digests()
    project = discovery.find(())
    assert project
    monkeypatch.setattr(modules, "_homes", set())
    for name in ("beside", "shop", "shop.rates"):
        del sys.modules[name]  # not by monkeypatch, which would restore them for the next test
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    monkeypatch.chdir("/")
    with using(project):
        on_worker = digests()

    assert on_worker == in_flow


def test_names_in_texts_have_no_digest() -> None:
    name = f"{PREFIX}{'0123456789abcdef'}.shop.prices"

    assert public(name) == cleaned(name) == "shop.prices"
    assert public("shop.prices") == "shop.prices"

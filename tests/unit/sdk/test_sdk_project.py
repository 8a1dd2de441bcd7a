"""The project's own modules: which ones they are, and how a worker imports them."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import shelve
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster import context, task
from flowcluster._util import pickling
from flowcluster.engine.caching.hashing import Hasher
from flowcluster.project import by_value, discovery, modules
from flowcluster.project.source import PREFIX, Project, Reference, Source, cleaned, public
from flowcluster.runners import task_pickles
from flowcluster.runners.base import TaskPayload


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder, which is the working directory and in which modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__in__", "__init__").replace("_slash_", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    importlib.invalidate_caches()


def found() -> dict[str, Source]:
    project = discovery.find(())
    return {} if project is None else project.sources


def project_of(**texts: str) -> Project:
    """A project of modules, without files."""
    sources = {name: Source(f"/project/{name}.py", False, text.encode()) for name, text in texts.items()}
    return Project(sources, frozenset({"__main__"}))


def using(project: Project) -> Any:
    """A task of that project is executed here, as on a worker."""
    return modules.using(Reference(project.digest, "place"), lambda _: project.packed)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is as after its start, and again when the test has ended."""
    import builtins

    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    monkeypatch.setattr(importlib, "import_module", importlib.import_module)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in ("_loaded", "_users"):
        monkeypatch.setattr(modules, name, {})
    # Else `task_pickles.install` does nothing after a test of another file that has called it.
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


class TestFinding:
    """Which modules are the project's."""

    def test_loaded_module_below_the_working_directory_belongs(self, folder: Path) -> None:
        write(folder, beside="VALUE = 1\n")
        importlib.import_module("beside")

        source = found()["beside"]

        assert (source.path, source.text, source.is_package) == (str(folder / "beside.py"), b"VALUE = 1\n", False)

    def test_module_belongs_when_a_function_of_another_imports_it(self, folder: Path) -> None:
        write(
            folder,
            first="def run():\n    import second, third as also\n    from fourth import x\n",
            second="import importlib\nimportlib.import_module('fifth')\n",
            third="",
            fourth="",
            fifth="",
            unused="",
        )
        importlib.import_module("first")

        names = found()

        assert {"first", "second", "third", "fourth", "fifth"} <= set(names)
        assert "unused" not in names

    def test_package_belongs_as_a_whole(self, folder: Path) -> None:
        write(
            folder,
            shop_slash___in__="",
            shop_slash_prices="",
            shop_slash_plugins_slash_one="",
            shop_slash_sub_slash___in__="from .. import prices\n",
        )
        importlib.import_module("shop")

        names = {name for name in found() if name.partition(".")[0] == "shop"}

        assert names == {"shop", "shop.prices", "shop.plugins", "shop.plugins.one", "shop.sub"}

    @pytest.mark.parametrize("way", ["link", "module of a package"])
    def test_module_belongs_that_the_script_imports_from_where_python_looks(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        """Beside the file that a link leads to; beside the package, as in ``python -m shop.report``."""
        write(folder, real_slash_beside="", real_slash_shop_slash_report="import beside\n")
        script = types.ModuleType("script_of_test")
        if way == "link":
            (folder / "bin").mkdir()
            (folder / "bin" / "report").symlink_to(folder / "real" / "report.py")
            (folder / "real" / "report.py").write_text("import beside\n")
            script.__file__ = str(folder / "bin" / "report")
        else:
            script.__file__, script.__package__ = str(folder / "real" / "shop" / "report.py"), "shop"
        monkeypatch.setitem(sys.modules, "script_of_test", script)
        monkeypatch.syspath_prepend(str(folder / "real"))
        (folder / "elsewhere").mkdir()
        monkeypatch.chdir(folder / "elsewhere")

        project = discovery.find({"script_of_test"})

        assert project is not None
        assert project.sources["beside"].path == str(folder / "real" / "beside.py")

    @pytest.mark.parametrize(
        "code",
        [
            "def run():\n    import beside\n",
            "@task\ndef run():\n    from beside import x\n",
            "def run():\n    def inner(): import beside\n    return inner\n",
            "class Report:\n    def run(self):\n        import beside\n",
            "class Report:\n    @task\n    def run(self):\n        import beside\n",
            "class Report:\n    @staticmethod\n    def run():\n        import beside\n",
            "class Report:\n    @property\n    def run(self):\n        import beside\n",
        ],
    )
    def test_module_belongs_when_code_of_a_session_imports_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        """A notebook, ``python -c`` and a script from standard input have no file."""
        write(folder, beside="", other="")
        session = types.ModuleType("session_of_test")
        monkeypatch.setitem(sys.modules, "session_of_test", session)
        exec(f"from flowcluster import task\n{code}", vars(session))

        project = discovery.find({"session_of_test"})

        assert project is not None
        assert "beside" in project.sources
        assert "other" not in project.sources

    def test_folder_without_init_belongs_as_far_as_it_is_imported(self, folder: Path) -> None:
        write(folder, first="from shop.prices import tax\n", shop_slash_prices="tax = 1\n", shop_slash_other="")
        importlib.import_module("first")

        names = {name for name in found() if name.partition(".")[0] == "shop"}

        assert names == {"shop", "shop.prices"}

    @pytest.mark.parametrize("place", ["site-packages", ".venv/lib", ".git"])
    def test_installed_and_hidden_modules_do_not_belong(
        self, folder: Path, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / place).mkdir(parents=True)
        (folder / place / "installed.py").touch()
        monkeypatch.syspath_prepend(str(folder / place))
        importlib.import_module("installed")

        assert "installed" not in found()

    def test_module_in_a_zip_file_does_not_belong(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(folder, first="import zipped\n")
        with zipfile.ZipFile(folder / "modules.zip", "w") as archive:
            archive.writestr("zipped.py", "")
        monkeypatch.syspath_prepend(str(folder / "modules.zip"))
        importlib.import_module("first")
        importlib.import_module("zipped")

        names = found()

        assert "first" in names
        assert "zipped" not in names

    def test_package_with_a_name_of_the_standard_library_belongs_when_it_is_imported_later(self, folder: Path) -> None:
        write(
            folder,
            first="def run():\n    from antigravity import tools\n    import this\n",
            antigravity_slash___in__="",
            antigravity_slash_tools="",
        )
        importlib.import_module("first")

        names = found()

        assert {"antigravity", "antigravity.tools"} <= set(names)
        assert "this" not in names

    def test_large_file_does_not_belong_when_no_statement_imports_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discovery, "FILE_LIMIT", 10)
        write(folder, shop_slash___in__="", shop_slash_small="a = 1\n", shop_slash_large="a = 12345678\n")
        importlib.import_module("shop")

        names = found()

        assert "shop.small" in names
        assert "shop.large" not in names

    def test_too_large_project_is_refused_with_its_largest_modules(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, beside=f"VALUE = '{'x' * 2_000_000}'\n")
        importlib.import_module("beside")
        monkeypatch.setattr(discovery, "LIMIT", discovery.MIB)

        with pytest.raises(ValueError, match=r"1 MiB to workers; the largest are beside \(1\.9 MiB\).*package"):
            discovery.find(())

    def test_module_belongs_when_a_function_of_a_session_without_a_file_imports_it(self, folder: Path) -> None:
        write(folder, beside="", unused="")
        session = (
            "from flowcluster.project import discovery\ndef run():\n    import beside\n"
            "print(sorted(discovery.find(()).sources))"
        )
        command = [sys.executable, "-c", session]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

        assert subprocess.check_output(command, text=True, env=environment) == "['beside']\n"

    def test_digest_changes_with_a_file(self, folder: Path) -> None:
        write(folder, beside="VALUE = 1\n")
        importlib.import_module("beside")
        first, again = discovery.find(()), discovery.find(())
        write(folder, beside="VALUE = 22\n")
        second = discovery.find(())
        assert first
        assert again
        assert second

        assert first.digest == again.digest != second.digest


@pytest.mark.usefixtures("worker")
class TestWorker:
    """Import of a project's modules in a process without their files."""

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
    def test_import_in_a_function_leads_to_its_own_project(self, body: str) -> None:
        projects = [project_of(beside=f"def run():\n    {body}\n", other=f"VALUE = {number}\n") for number in (1, 2)]
        runs = []
        for project in projects:
            with using(project):
                runs.append(modules.resolve("", "beside", "run"))

        assert [run().VALUE for run in runs] == [1, 2]  # also outside of the task, as in a thread that it started

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
    def test_pickle_leads_to_the_same_object(self, name: str) -> None:
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
    """As a library does whose classes are derived from those that Python has in Python."""
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
    """As a function does whose script has imported names from `pickle`."""
    dumps, loads = pickle.loads(DUMPS), pickle.loads(LOADS)
    data = dumps(things)
    return data, loads(data)


DUMPS, LOADS = pickle.dumps(pickle.dumps), pickle.dumps(pickle.loads)


@pytest.mark.parametrize("way", [by_functions, by_file, by_library, by_shelf, by_imported_name])
def test_pickle_of_a_task_has_names_that_other_processes_know(
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
    """On a worker, the name leads to nothing; the process that runs the script knows it."""
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
    # Files of users have this name in them.
    assert b"flowcluster.project.plain_pickles" in data
    assert loaded[:2] == things[:2]


def test_task_pickles_other_things_as_usual(worker: None) -> None:
    things = [1, "a", {"b": (2.5, None)}, os.path.join, dict, pickle.PickleError]
    usual = pickle.dumps(things)
    with using(project_of(beside="")):
        task_pickles.install()
        assert pickle.dumps(things) == usual
        assert repr(pickle.loads(usual)) == repr(things)


def test_worker_reads_what_the_flow_process_pickled(folder: Path, worker: None) -> None:
    """Classes come back as the flow process's own ones, from names that only workers use."""
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


def test_digest_of_code_on_a_worker_is_that_in_the_flow_process(
    folder: Path, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache keys do not depend on the version's name, and include modules that a function imports."""
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
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    monkeypatch.chdir("/")
    with using(project):
        on_worker = digests()

    assert on_worker == in_flow


def test_names_for_people_have_no_digest() -> None:
    name = f"{PREFIX}{'0123456789abcdef'}.shop.prices"

    assert public(name) == cleaned(name) == "shop.prices"
    assert public("shop.prices") == "shop.prices"

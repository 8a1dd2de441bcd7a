"""Which modules belong to a project, and how a worker imports them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

from flowcluster.project import discovery
from tests.support.projects import found, write


class TestFinding:
    """The choice of the project's modules."""

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
        """The modules are beside the target of a link, or beside the package, as in ``python -m shop.report``."""
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

    def test_only_imported_files_of_a_folder_without_init_belong(self, folder: Path) -> None:
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

"""Packing of code: the file of a flow, and the modules that it needs."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flowcluster import flow
from flowcluster.submit.packing import ARCHIVE, LIMIT, FlowLocation, location_of, packed
from flowcluster.submit.prepare import prepare


@flow
def greetings(names: list[str], times: int = 1) -> int:
    return times


class TestPacking:
    """Packing of a flow's file."""

    def test_flow_is_found_in_its_file(self, tmp_path: Path) -> None:
        """A script that submits its own flow packs its own file."""
        script = tmp_path / "script.py"
        script.write_text(
            "from flowcluster import flow\nfrom flowcluster.submit.packing import location_of\n"
            "@flow\ndef f(): pass\nprint(*location_of(f))\n"
        )
        shown = subprocess.check_output([sys.executable, str(script)], text=True)

        assert shown == f"{script} f True\n"

    def test_flow_without_a_name_is_refused(self) -> None:
        """The driver could not find the flow or its options."""
        with pytest.raises(ValueError, match="cannot be found by name"):
            location_of(greetings.with_options(retries=1))

    def test_modules_that_the_file_imports_are_packed(self, tmp_path: Path) -> None:
        """Modules in the same folder are keys of the ConfigMap. Packages are whole, in an archive."""
        (tmp_path / "helpers").mkdir()
        for name in ("prices.py", "tax.py", "unused.py", "helpers/__init__.py", "helpers/more.py"):
            (tmp_path / name).write_text("import tax\n" if name == "prices.py" else "")
        file = tmp_path / "flows.py"
        file.write_text("import json, os.path\nimport prices\ndef f():\n    from helpers.more import x\n")
        made = prepare(greetings, {"names": []}, location=FlowLocation(str(file), "greetings", is_file=True))
        assert made.config_map is not None
        archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(made.config_map["binaryData"][ARCHIVE])))

        assert made.config_map["data"] == {"flows.py": file.read_text(), "prices.py": "import tax\n", "tax.py": ""}
        assert archive.namelist() == ["helpers/__init__.py", "helpers/more.py"]

    def test_modules_below_the_working_directory_are_packed_when_python_finds_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The modules can be in a folder ``src`` beside the folder of the flows. The file can be a link."""
        for name in ("flows/steps_of_test.py", "src/shop_of_test/__init__.py", "src/unused_of_test.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "flows" / "daily.py").write_text("import shop_of_test, steps_of_test, unittest\n")
        (tmp_path / "daily.py").symlink_to(tmp_path / "flows" / "daily.py")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path / "src"))

        for file in ("flows/daily.py", "daily.py"):
            code = packed(file)
            assert set(code.files()) == {"daily.py", "steps_of_test.py", ARCHIVE}
            assert zipfile.ZipFile(io.BytesIO(code.modules[ARCHIVE])).namelist() == ["shop_of_test/__init__.py"]

    def test_file_that_imports_from_above_its_folder_is_packed_as_a_module(self, tmp_path: Path) -> None:
        """The SDK packs the whole package of the file. A file without a package is refused."""
        for name in ("__init__.py", "rates.py", "jobs/__init__.py", "jobs/steps.py"):
            (tmp_path / "etl_of_test" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "etl_of_test" / name).touch()
        file = tmp_path / "etl_of_test" / "jobs" / "daily.py"
        file.write_text("from .steps import step\n")
        (file.parent / "steps.py").write_text("from ..rates import RATE\n")

        code = packed(str(file))

        assert code.entrypoint("main") == "etl_of_test.jobs.daily:main"
        (archive,) = code.files().values()
        assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == [
            f"etl_of_test/{name}.py" for name in ("__init__", "jobs/__init__", "jobs/daily", "jobs/steps", "rates")
        ]
        (file.parent / "__init__.py").unlink()
        with pytest.raises(ValueError, match="imports relatively from above its folder, which is in no package"):
            packed(str(file))

    def test_files_that_are_too_large_for_a_config_map_are_refused(self, tmp_path: Path) -> None:
        """The error has the files, their sizes and the remedy."""
        file = tmp_path / "flows.py"
        file.write_bytes(b"#" * LIMIT)

        with pytest.raises(ValueError, match=r"flows\.py has 1\.0 MiB.*image"):
            packed(str(file))

    def test_file_name_that_is_not_a_valid_key_is_refused(self, tmp_path: Path) -> None:
        """The SDK refuses it before the API server does, whose error is about keys."""
        (tmp_path / "my flow.py").touch()

        with pytest.raises(ValueError, match=r"'my flow\.py' cannot be packed"):
            packed(str(tmp_path / "my flow.py"))

    def test_file_in_another_encoding_is_packed_unchanged(self, tmp_path: Path) -> None:
        """Bytes that are not UTF-8 are packed as binary data."""
        file = tmp_path / "flows.py"
        file.write_bytes("# coding: latin-1\nNAME = 'é'\n".encode("latin-1"))
        made = prepare(greetings, {"names": []}, location=FlowLocation(str(file), "greetings", is_file=True))
        assert made.config_map is not None

        assert made.config_map["binaryData"]["flows.py"].startswith("IyBjb2Rpbmc6")

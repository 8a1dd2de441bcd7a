"""Files of flows with relative imports, and modules from an archive."""

from __future__ import annotations

import errno
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster.cli import entrypoint
from flowcluster.cli.startup_error import StartupError
from flowcluster.project import by_value, discovery
from flowcluster.submit import packing

FLOW = "from {} import RATE\nfrom flowcluster import flow\n@flow\ndef run():\n    return RATE\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the working directory. The fixture removes the modules that were imported from it at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(by_value, "scripts", set())
    monkeypatch.setattr(discovery, "roots", set())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("is_package", [True, False])
def test_file_with_relative_imports_is_loaded_as_a_module_of_its_folder(folder: Path, is_package: bool) -> None:
    inner = folder / "shop_of_test"
    inner.mkdir()
    (inner / "tax.py").write_text("RATE = 0.19\n")
    (inner / "flow_of_test.py").write_text(FLOW.format(".tax"))
    if is_package:
        (inner / "__init__.py").touch()

    flow = entrypoint.load(str(inner / "flow_of_test.py") + ":run")

    package = "shop_of_test" if is_package else "shop_of_test_folder"
    assert flow.fn.__module__ == f"{package}.flow_of_test"
    assert sys.modules[f"{package}.tax"].RATE == 0.19
    project = discovery.find(by_value.scripts)
    assert project is not None
    assert f"{package}.tax" in project.sources


def test_packed_package_is_imported_from_its_archive(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    author = tmp_path_factory.mktemp("author")
    (author / "shop_of_test").mkdir()
    (author / "shop_of_test" / "__init__.py").touch()
    (author / "shop_of_test" / "tax.py").write_text("RATE = 0.19\n")
    (author / "flow_of_test.py").write_text(FLOW.format("shop_of_test.tax"))
    for name, content in packing.packed(str(author / "flow_of_test.py")).files().items():
        (folder / name).write_bytes(content)

    flow = entrypoint.load("flow_of_test.py:run")

    assert flow.fn() == 0.19
    project = discovery.find(by_value.scripts)
    assert project is not None
    assert {"shop_of_test", "shop_of_test.tax"} <= set(project.sources)


def test_file_behind_a_link_imports_the_modules_beside_it(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "tax_of_test.py").write_text("RATE = 0.19\n")
    (folder / "real" / "flow_of_test.py").write_text(FLOW.format("tax_of_test"))
    (folder / "link_of_test.py").symlink_to(folder / "real" / "flow_of_test.py")

    assert entrypoint.load("link_of_test.py:run").fn() == 0.19


def test_packed_package_whose_file_imports_from_above_is_loaded_from_its_archive(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    author = tmp_path_factory.mktemp("author") / "shop_of_test"
    (author / "jobs").mkdir(parents=True)
    for name in ("__init__.py", "jobs/__init__.py"):
        (author / name).touch()
    (author / "tax.py").write_text("RATE = 0.19\n")
    (author / "jobs" / "daily.py").write_text(FLOW.format("..tax"))
    code = packing.packed(str(author / "jobs" / "daily.py"))
    for name, content in code.files().items():
        (folder / name).write_bytes(content)

    assert entrypoint.load(code.entrypoint("run")).fn() == 0.19


def test_packed_package_that_cannot_be_unpacked_is_reported_with_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_folder(**_: Any) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    (folder / packing.ARCHIVE).touch()
    monkeypatch.setattr(tempfile, "mkdtemp", no_folder)

    with pytest.raises(StartupError, match=r"No usable temporary directory .* emptyDir at /tmp"):
        entrypoint.load("flow_of_test.py:run")

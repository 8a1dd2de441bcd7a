"""The site of the documentation: it builds without a warning, and its reference pages have what the code has."""

from __future__ import annotations

import html
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcluster_api import driver
from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from tools.docs import charts, command_line
from tools.docs.__main__ import build
from tools.docs.python_api import public_names
from tools.generate import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("docs"), pytest.mark.timeout(600)]

#: A variable in the code, and not only the beginning of its name.
VARIABLE = re.compile(r"\bFLOWCLUSTER_[A-Z]+(?:_[A-Z]+)*\b(?![_{])")
#: The text of a paragraph or of an item of a list.
PARAGRAPH = re.compile(r"<(?:p|li)>(.*?)</(?:p|li)>", re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all tests of this module."""
    folder = tmp_path_factory.mktemp("site")
    assert build(folder) == 0, "MkDocs printed a warning"
    return folder


def text(site: Path, page: str) -> str:
    """The text of a page, without tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", (site / page).read_text(encoding="utf-8")))


def fields(schema: dict[str, Any]) -> set[str]:
    """The names of all fields of a schema."""
    schema = schema.get("items", schema)
    found = set(schema.get("properties", {}))
    return found.union(*(fields(child) for child in schema.get("properties", {}).values()))


def test_pages_fetch_nothing_from_other_sites(site: Path) -> None:
    wanted = re.compile(r'<(?:script|img|iframe|link (?!rel="?canonical))[^>]*?\b(?:src|href)="?(?:https?:)?//[^ >"]*')
    pages = list(site.rglob("*.html"))

    assert len(pages) > 40
    assert {match for page in pages for match in wanted.findall(page.read_text(encoding="utf-8"))} == set()


def test_lists_are_lists_and_not_lines_of_a_paragraph(site: Path) -> None:
    # Python-Markdown sees a list only below an empty line; hosts of repositories also see one without it.
    item = re.compile(r"^(?:-|\d+\.) \S.*", re.MULTILINE)
    pages = {str(page.relative_to(site)): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    texts = ((name, text) for name, page in pages.items() for text in PARAGRAPH.findall(page))

    assert len(pages) > 40
    assert [(name, match) for name, text in texts for match in item.findall(text)] == []


def test_paths_in_tables_can_break_into_lines_and_those_in_blocks_cannot(site: Path) -> None:
    page = (site / "architecture.html").read_text(encoding="utf-8")
    blocks = re.findall(r"<pre.*?</pre>", page, re.DOTALL)

    assert "<code>sdk/<wbr>flowcluster/<wbr>states.py::<wbr>State</code>" in page
    assert blocks
    assert [block for block in blocks if "<wbr>" in block] == []


@pytest.mark.parametrize(
    "module",
    ["flowcluster", "flowcluster.task_runners", "flowcluster.clusters", "flowcluster.futures", "flowcluster.errors"],
)
def test_python_page_has_each_public_name(site: Path, module: str) -> None:
    page = (site / "reference/python-api.html").read_text(encoding="utf-8")
    short = {anchor.rpartition(".")[2] for anchor in re.findall(r'id="?(flowcluster[\w.]*)', page)}

    assert [name for name in public_names(import_module(module)) if name not in short] == []


@pytest.mark.parametrize(("page", "crd"), [("flowrun", flow_run_crd), ("sharedcluster", shared_cluster_crd)])
def test_page_of_a_kind_has_each_field(site: Path, page: str, crd: Any) -> None:
    (version,) = crd()["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    shown = text(site, f"reference/{page}.html")

    assert [name for part in ("spec", "status") for name in fields(properties[part]) if name not in shown] == []


@pytest.mark.parametrize("chart", ["flowcluster", "flowcluster-shared"])
def test_page_on_charts_has_each_value(site: Path, chart: str) -> None:
    values = yaml.safe_load((ROOT / "charts" / chart / "values.yaml").read_text(encoding="utf-8"))
    shown = text(site, "reference/chart.html")

    assert [name for name in values if name not in shown] == []


@pytest.mark.parametrize("chart", ["flowcluster", "flowcluster-shared"])
def test_each_value_of_a_chart_has_a_comment(chart: str) -> None:
    rows = [line.split("|") for line in charts.values(chart).splitlines()[2:]]

    assert [name.strip() for _, name, _, meaning, _ in rows if not meaning.strip()] == []


def test_page_on_the_command_line_has_each_command_and_option(site: Path) -> None:
    shown = text(site, "reference/command-line.html")

    assert len(command_line.commands()) >= 2
    assert [name for name in command_line.commands() if f"flowcluster {name} [OPTIONS]" not in shown] == []
    assert [name for name in ("--param", "--json", "--watch", "--cluster") if name not in shown] == []


def test_page_on_variables_has_each_variable_that_the_code_names(site: Path) -> None:
    code = [path for folder in ("sdk", "operator", "tools") for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in code for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    shown = text(site, "reference/environment.html")

    assert len(named) > 20
    assert sorted(name for name in named if name not in shown) == []


def test_page_on_exit_codes_has_each_code(site: Path) -> None:
    codes = {value for name, value in vars(driver).items() if name.startswith("EXIT_")}
    shown = text(site, "reference/exit-codes.html")

    assert [code for code in codes if not re.search(rf"\b{code}\b", shown)] == []

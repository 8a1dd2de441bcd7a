"""The documents, as far as they can be checked without running their blocks or building their site."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from flowcluster_api import conditions, names
from flowcluster_api.v1alpha1 import FlowRunSpec, SharedClusterSpec
from tests.support.documents import EXECUTABLE, HERE, IN_KUBERNETES, Block, blocks, steps
from tools.chart import SHARED_CHART
from tools.generate import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "changelog.d/README.md",
        "charts/*/README.md",
        "examples/*.md",
        "requirements/*.md",
        "tools/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
#: What readers of the site and of the README follow step by step.
PAGES = [name for name in DOCUMENTS if name == "README.md" or name.startswith("docs/")]
#: A path of the repository in backquotes, without placeholders in capitals. ``PATH::NAME`` is a name in a file.
QUOTED_PATH = re.compile(r"`((?:[a-z.][\w.-]*/)+[a-z_.][\w.-]*)(?:::(\w+))?`")
#: The folders of the repository that have code, in contrast to those that commands make.
FOLDERS = ("charts/", "docs/", "examples/", "manifests/", "operator/", "requirements/", "sdk/", "tests/", "tools/")
SPECS: dict[str, Any] = {names.KIND: FlowRunSpec, names.SHARED_KIND: SharedClusterSpec}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(document: pathlib.Path) -> set[str]:
    """The anchors of the headings, as hosts of repositories and the site make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def leads_somewhere(document: pathlib.Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not anchor or anchor in anchors(target))


def places(name: str) -> list[tuple[str, str]]:
    """The places in the repository that a document names: path, and name in the file or nothing."""
    return [place for place in QUOTED_PATH.findall(text_of(name)) if place[0].startswith(FOLDERS)]


def wrong_place(path: str, name: str) -> str | None:
    """What is wrong with a place in the code; None when nothing is."""
    target = ROOT / path
    if not target.exists():
        return f"{path} does not exist"
    if name and not re.search(rf"^ *(class|def|async def) {name}\b|^{name}\b.* = ", target.read_text(), re.MULTILINE):
        return f"{path} does not define {name}"
    return None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_documents_lead_to_files_and_headings(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(name))

    assert [link for link in links if "://" not in link and not leads_somewhere(ROOT / name, link)] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", *(page for page in PAGES if not page.startswith("docs/adr/"))])
def test_places_in_the_code_that_a_page_names_exist(name: str) -> None:
    assert [wrong for place in places(name) if (wrong := wrong_place(*place))] == []


def test_map_of_the_code_names_many_places() -> None:
    assert len(places("docs/where-is-what.md")) > 60


@pytest.mark.parametrize("name", PAGES)
def test_each_block_runs_somewhere_or_has_a_reason_why_not(name: str) -> None:
    def is_accounted_for(block: Block) -> bool:
        if block.language not in EXECUTABLE:
            return not re.search(r"^\$ ", block.text, re.MULTILINE) and block.language in (
                "text",
                "yaml",
                "dockerfile",
                "",
            )
        if block.mark.startswith("not run:"):
            return len(block.reason.split()) > 2
        return block.place in (HERE, IN_KUBERNETES) or block.mark.startswith("demo: ")

    assert [block.text for block in blocks(ROOT / name) if not is_accounted_for(block)] == []


@pytest.mark.parametrize("name", PAGES)
def test_file_is_there_before_a_command_uses_it(name: str) -> None:
    for place in (HERE, IN_KUBERNETES):
        written: set[str] = set()
        for step in steps(ROOT / name, place):
            if step.file is not None:
                written.add(step.file)
                continue
            used = set(re.findall(r"(?<![\w/.-])([\w-]+\.(?:py|yaml))\b", step.text))
            assert used <= written, step.text


@pytest.mark.parametrize("name", PAGES)
def test_python_blocks_compile(name: str) -> None:
    for block in blocks(ROOT / name):
        if block.language == "python":
            compile(block.text, name, "exec")


@pytest.mark.parametrize("name", PAGES)
def test_manifests_and_values_are_valid(name: str) -> None:
    for block in blocks(ROOT / name):
        if block.language != "yaml":
            continue
        for document in yaml.safe_load_all(block.text):
            if document.get("kind") in SPECS and "spec" in document:
                SPECS[document["kind"]].model_validate(document["spec"])
            elif document.get("kind") in ("Dask", "Ray"):
                SharedClusterSpec.model_validate(document)  # values of the chart


def test_values_that_commands_set_are_those_of_the_shared_chart() -> None:
    values = yaml.safe_load((SHARED_CHART / "values.yaml").read_text())
    for name in PAGES:
        for step in steps(ROOT / name):
            if "helm" not in step.text:
                continue
            for path in re.findall(r"--set '?([\w.]+)=", step.text):
                found = values
                for part in path.split("."):
                    assert part in found, step.text
                    found = found[part]


def test_page_on_shared_clusters_names_each_phase() -> None:
    (table,) = re.findall(r"\| phase \|.*?\n\n", text_of("docs/how-to/shared-clusters.md"), re.DOTALL)

    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:] if row))) == set(
        conditions.SHARED_PHASES
    )


def test_page_on_shared_clusters_has_commands_of_each_tool() -> None:
    commands = [step.text for step in steps(ROOT / "docs/how-to/shared-clusters.md") if step.file is None]

    assert len(commands) > 15
    assert {command.split()[0] for command in commands} == {"helm", "kubectl", "flowcluster", "python"}

"""Write the files that are made from the models and from the version: ``python -m tools.generate [--check]``.

With ``--check`` it writes nothing, and fails if a file differs.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Any

import yaml

from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from tools import versions
from tools.admission import shared_template_rules, template_rules
from tools.chart_lock import lock_text
from tools.shared_values import schema_text, values_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
_HEADER = "# Made from sdk/flowcluster_api/v1alpha1 by `make generate`. Change the models, not this file.\n"
_RULES_HEADER = (
    "# Made from operator/flowcluster_operator/template_rules.py by `make generate`. Change that table instead.\n"
)


def generated() -> dict[pathlib.Path, str]:
    """Return the text of each generated file, by its path in the repository."""
    crd, shared = _HEADER + _dumped(flow_run_crd()), _HEADER + _dumped(shared_cluster_crd())
    version = versions.release()
    chart = pathlib.Path("charts/flowcluster")
    about = versions.in_chart(_text(chart / "Chart.yaml"), version)
    shared_chart = pathlib.Path("charts/flowcluster-shared")
    return {
        pathlib.Path("manifests/crds/flowruns.yaml"): crd,
        pathlib.Path("manifests/crds/sharedclusters.yaml"): shared,
        chart / "files" / "flowruns.yaml": crd,
        chart / "files" / "sharedclusters.yaml": shared,
        chart / "files" / "template-rules.yaml": _RULES_HEADER + _dumped(template_rules()),
        chart / "files" / "shared-template-rules.yaml": _RULES_HEADER + _dumped(shared_template_rules()),
        chart / "Chart.yaml": about,
        chart / "Chart.lock": lock_text(about, _text(chart / "Chart.lock")),
        shared_chart / "Chart.yaml": versions.in_chart(_text(shared_chart / "Chart.yaml"), version),
        shared_chart / "values.yaml": values_text(),
        shared_chart / "values.schema.json": schema_text(),
        **{path: versions.in_document(_text(path), version) for path in _documents()},
    }


def _dumped(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=110)
    return text


def _documents() -> list[pathlib.Path]:
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(path.relative_to(ROOT) for path in found if path.name != "CHANGELOG.md")


def _text(path: pathlib.Path) -> str:
    target = ROOT / path
    return target.read_text(encoding="utf-8") if target.exists() else ""


def main() -> None:
    """Write or check all of them."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file differs, and write nothing")
    check = parser.parse_args().check
    stale = []
    for path, text in generated().items():
        target = ROOT / path
        if _text(path) == text:
            continue
        stale.append(str(path))
        if not check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if check and stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run make generate")


if __name__ == "__main__":
    main()

"""Package the chart: ``python -m tools.chart DIRECTORY`` prints the path of the archive it wrote there.

The chart of the stock dask-kubernetes operator comes out of the installed dask-kubernetes wheel, so that its
CRDs and its image always belong together; KubeRay's from its repository, where that can be reached.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "flowcluster"
DASK_CHART, RAY_CHART = "dask-kubernetes-operator", "kuberay-operator"
#: Seconds for a repository to answer.
_PULL_SECONDS = 20


def assemble(helm: str, target: pathlib.Path) -> pathlib.Path:
    """Copy the chart with its dependencies into `target`; the chart's folder there."""
    chart = target / CHART.name
    shutil.copytree(CHART, chart)
    distribution = importlib.metadata.distribution("dask-kubernetes")
    source = pathlib.Path(str(distribution.locate_file(f"dask_kubernetes/operator/deployment/helm/{DASK_CHART}")))
    wanted = next(
        item["version"]
        for item in yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]
        if item["name"] == DASK_CHART
    )
    if distribution.version != wanted:
        raise SystemExit(
            f"charts/flowcluster/Chart.yaml wants {DASK_CHART} {wanted}, but dask-kubernetes {distribution.version} "
            "is installed: set both to the same version"
        )
    vendored = chart / "charts" / DASK_CHART
    shutil.copytree(source, vendored)
    about = yaml.safe_load((vendored / "Chart.yaml").read_text())
    about |= {"version": wanted, "appVersion": wanted}
    (vendored / "Chart.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
    _add_kuberay(helm, chart)
    return chart


def _add_kuberay(helm: str, chart: pathlib.Path) -> None:
    """Fetch KubeRay's chart, or leave it out of the package."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    wanted = next(item for item in about["dependencies"] if item["name"] == RAY_CHART)
    pull = [helm, "pull", RAY_CHART, "--repo", wanted["repository"], "--version", wanted["version"]]
    try:
        done = subprocess.run(
            [*pull, "--untar", "--untardir", str(chart / "charts")],
            capture_output=True, text=True, timeout=_PULL_SECONDS, check=False,
        )  # fmt: skip
        trouble = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {_PULL_SECONDS} s"
    if trouble:
        print(f"without KubeRay's chart, which cannot be fetched: {trouble.splitlines()[-1]}", file=sys.stderr)
        about["dependencies"].remove(wanted)
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about, sort_keys=False))


def package(helm: str, target: pathlib.Path) -> pathlib.Path:
    """Write the chart's archive into `target` with that helm; its path."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chart = assemble(helm, pathlib.Path(folder))
        subprocess.run([helm, "lint", "--strict", "--quiet", str(chart)], check=True, stdout=sys.stderr)
        done = subprocess.run(
            [helm, "package", str(chart), "--destination", str(target)], check=True, capture_output=True, text=True
        )
    return pathlib.Path(done.stdout.strip().rsplit(" ", 1)[1])


if __name__ == "__main__":
    from tools.cluster.api import tool

    print(package(str(tool("helm")), pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))

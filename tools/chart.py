"""Package the charts: ``python -m tools.chart [DIRECTORY]`` prints the paths of the archives it wrote there.

The chart of the stock dask-kubernetes operator comes from the installed dask-kubernetes wheel, so that packaging
needs no network. It is the chart that dask-kubernetes publishes, with placeholders for its version and its image tag.
This module fills in the version, and ``values.yaml`` the image tag. KubeRay's chart comes from its repository, if that
can be reached.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap

import yaml

from tools.chart_lock import lock_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "flowcluster"
#: Chart of a SharedCluster, which has no dependencies.
SHARED_CHART = ROOT / "charts" / "flowcluster-shared"
DASK_CHART, RAY_CHART = "dask-kubernetes-operator", "kuberay-operator"
#: Seconds for a repository to answer.
_PULL_SECONDS = 20
#: Maximum characters of the reason, in the message, why the repository does not answer.
_REASON_CHARACTERS = 100
#: Prefix of ``/operator`` and ``/runtime`` in the chart's values.
_IMAGES = "docker.io/flowcluster"


def assemble(helm: str, target: pathlib.Path, images: str = "", *, has_kuberay: bool = True) -> pathlib.Path:
    """Copy the chart with its dependencies into a folder.

    Args:
        helm: The helm program.
        target: Existing folder to copy into.
        images: Prefix of ``/operator`` and ``/runtime`` in the names of the images. Default: as in the chart.
        has_kuberay: Whether KubeRay's chart is fetched. Without it, the chart does not require it.

    Returns:
        The chart's folder there.

    Raises:
        SystemExit: Chart.yaml and the installed dask-kubernetes differ in their version.
    """
    chart = _copy(CHART, target, images)
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
    if has_kuberay:
        _add_kuberay(helm, chart)
    else:
        _leave_kuberay_out(chart)
    return chart


def _copy(source: pathlib.Path, target: pathlib.Path, images: str) -> pathlib.Path:
    """Copy a chart into a folder. The arguments are those of `assemble`."""
    chart = target / source.name
    # `helm dependency build` leaves a folder charts/ in the checkout, with the same charts that `assemble` adds.
    shutil.copytree(source, chart, ignore=shutil.ignore_patterns("charts"))
    if images:
        values = chart / "values.yaml"
        values.write_text(values.read_text().replace(f"{_IMAGES}/", f"{images}/"))
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
        trouble = (done.stderr.strip() or f"helm exited {done.returncode}") if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {_PULL_SECONDS} s"
    if trouble:
        reason = textwrap.shorten(trouble.splitlines()[-1], _REASON_CHARACTERS)
        print(f"KubeRay's chart cannot be fetched, and the package does not contain it: {reason}", file=sys.stderr)
        _leave_kuberay_out(chart)


def _leave_kuberay_out(chart: pathlib.Path) -> None:
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    about["dependencies"] = [item for item in about["dependencies"] if item["name"] != RAY_CHART]
    text = yaml.safe_dump(about, sort_keys=False)
    (chart / "Chart.yaml").write_text(text)
    (chart / "Chart.lock").write_text(lock_text(text))


def package(helm: str, target: pathlib.Path, images: str = "", *, has_kuberay: bool = True) -> pathlib.Path:
    """Check the chart, write its archive into `target`, and return the archive's path.

    Args:
        helm: The helm program.
        target: Folder for the archive, created when it is missing.
        images: As for `assemble`.
        has_kuberay: As for `assemble`.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _packaged(helm, assemble(helm, pathlib.Path(folder), images, has_kuberay=has_kuberay), target)


def package_shared(helm: str, target: pathlib.Path, images: str = "") -> pathlib.Path:
    """Check the chart of a SharedCluster and write its archive, as `package` does with the operator's chart."""
    with tempfile.TemporaryDirectory() as folder:
        return _packaged(helm, _copy(SHARED_CHART, pathlib.Path(folder), images), target)


def _packaged(helm: str, chart: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run([helm, "lint", "--strict", "--quiet", str(chart)], check=True, stdout=sys.stderr)
    done = subprocess.run(
        [helm, "package", str(chart), "--destination", str(target)], check=True, capture_output=True, text=True
    )
    return pathlib.Path(done.stdout.strip().rsplit(" ", 1)[1])


def main() -> None:
    """Package the charts with the options of the command line."""
    from tools.cluster.api import tool

    parser = argparse.ArgumentParser(prog="python -m tools.chart", description="Package the charts.")
    parser.add_argument("directory", nargs="?", type=pathlib.Path, default=pathlib.Path("dist"))
    parser.add_argument(
        "--images", default="", metavar="HOST/PATH", help=f"where the images are that the chart names, not {_IMAGES}"
    )
    chosen = parser.parse_args()
    for make in (package, package_shared):
        print(make(str(tool("helm")), chosen.directory, chosen.images))


if __name__ == "__main__":
    main()

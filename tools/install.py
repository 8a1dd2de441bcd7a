"""Bring up a Kubernetes, build and load the images, install the chart: ``python -m tools.install``.

You can run it again: it keeps a cluster that runs and images that are loaded, and upgrades the release.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile

from tools import kuberay
from tools.chart import DASK_CHART, package
from tools.cluster import api, binaries, cache, gotools
from tools.cluster.errors import ToolError
from tools.cluster.onenode.cluster import BUILT, OneNode
from tools.cluster.progress import step
from tools.cluster.providers.choose import choose
from tools.cluster.shell import run
from tools.images import values_text

#: Namespace and name of the release.
SYSTEM, RELEASE = "flowcluster-system", "flowcluster"
#: Deployment of the stock operator that the chart installs.
UPSTREAM = f"{RELEASE}-{DASK_CHART}"


@dataclasses.dataclass(frozen=True)
class Installed:
    """A cluster with the operators in it.

    Attributes:
        images: full references of the images by name: operator, runtime, dask-operator, kuberay.
        audit_log: the API server's audit log, if it can be read.
    """

    kubeconfig: pathlib.Path
    kubectl: pathlib.Path
    helm: pathlib.Path
    images: dict[str, str]
    audit_log: pathlib.Path | None


def install() -> Installed:
    """Run all steps. Raise ToolError with what to do when a step fails."""
    provider = choose()
    of_node = BUILT if provider.kind == OneNode.kind else ()
    gotools.announce(dict.fromkeys([*of_node, *binaries.to_build(), "kuberay"]))
    cluster = api.ensure_up()
    images = api.ensure_images(cluster)
    done = Installed(
        kubeconfig=cluster.kubeconfig,
        kubectl=api.tool("kubectl"),
        helm=api.tool("helm"),
        images=images,
        audit_log=cluster.audit_log,
    )
    # helm refuses two simultaneous installations of a release.
    with cache.locked(cache.root() / "clusters" / "install.lock", "installing the chart"):
        _install_charts(done, images)
    return done


def _install_charts(done: Installed, images: dict[str, str]) -> None:
    with step("installing KubeRay"):
        kuberay.install(done.kubectl, done.kubeconfig, SYSTEM, images["kuberay"])
    with step("installing the chart"), tempfile.TemporaryDirectory() as folder:
        # KubeRay is installed already, from its Go module.
        archive = package(str(done.helm), pathlib.Path(folder), has_kuberay=False)
        values = pathlib.Path(folder) / "images.yaml"
        values.write_text(values_text(images))
        run(
            [
                done.helm, "upgrade", "--install", RELEASE, archive, "--namespace", SYSTEM, "--create-namespace",
                "--wait", "--timeout", "180s", "--values", values,
            ],
            env={"KUBECONFIG": str(done.kubeconfig)},
            hint=f"look at: kubectl --kubeconfig {done.kubeconfig} -n {SYSTEM} describe pods",
        )  # fmt: skip


if __name__ == "__main__":
    try:
        print(install().kubeconfig)
    except ToolError as error:
        sys.exit(f"error: {error}")

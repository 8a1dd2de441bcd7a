"""The blocks of the documents that need a Kubernetes: each page's files and commands, in its order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.documents import IN_KUBERNETES, missing, steps
from tests.support.world import ROOT, World
from tools.chart import SHARED_CHART
from tools.install import Installed

pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]

PAGES = {
    path.relative_to(ROOT).as_posix(): steps(path, IN_KUBERNETES)
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
}
#: Seconds for one command of a page.
DEADLINE = 700


@pytest.fixture
def folder(installed: Installed, world: World, tmp_path: Path) -> Path:
    """A folder with the charts, the image of the tests, and a kubeconfig for the test's namespace."""
    chart = tmp_path / "charts" / SHARED_CHART.name
    shutil.copytree(SHARED_CHART, chart)
    values = yaml.safe_load((chart / "values.yaml").read_text())
    repository, _, tag = installed.images["runtime"].rpartition(":")
    values["runtimeImage"] = {"repository": repository, "tag": tag}
    (chart / "values.yaml").write_text(yaml.safe_dump(values))
    subprocess.run([installed.helm, "package", chart, "--destination", tmp_path / "dist"], check=True)
    config = yaml.safe_load(installed.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = world.namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, program in {"helm": installed.helm, "kubectl": installed.kubectl}.items():
        (programs / name).symlink_to(program)
    return tmp_path


@pytest.mark.parametrize("page", sorted(name for name, found in PAGES.items() if found))
def test_commands_of_the_page_print_what_it_shows(world: World, folder: Path, page: str) -> None:
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(folder / "kubeconfig")}
    try:
        for step in PAGES[page]:
            if step.file is not None:
                (folder / step.file).write_text(step.text, encoding="utf-8")
                continue
            done = subprocess.run(
                ["bash", "-c", step.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE
            )
            found = f"{step.text}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, f"{found}\n{failed_pods(world)}"
            assert missing(step.shown, done.stdout) == [], found
    finally:
        for run in world.runs():  # their records own the ConfigMaps with the code that was submitted
            world.delete(run["metadata"]["name"])
        # Also the records of the releases that a page installs and keeps.
        for left in ("helm list --short | xargs -r helm uninstall", "kubectl delete sharedclusters --all --wait=false"):
            subprocess.run(["bash", "-c", left], env=environment, check=False)
    world.wait_empty(60)


def failed_pods(world: World) -> str:
    """Return the logs of the pods that have failed, such as that of `helm test`."""
    failed = world.core.list_namespaced_pod(world.namespace, field_selector="status.phase=Failed").items
    names = [pod.metadata.name for pod in failed]
    return "\n".join(f"{name}: {world.core.read_namespaced_pod_log(name, world.namespace)}" for name in names)

"""`flowcluster submit` without a Kubernetes: what it would create, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FLOWS = Path(__file__).with_name("flows") / "submit_command.py"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The working directory of the program, with a file of flows."""
    shutil.copy(FLOWS, tmp_path / "flows_here.py")
    return tmp_path


def submit(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user without a Kubernetes does."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.run(
        [sys.executable, "-m", "flowcluster.cli.main", "submit", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        env={**environment, "HOME": str(directory)},
    )


def test_dry_run_shows_what_kubectl_could_create(directory: Path) -> None:
    """Stdout is the YAML of the ConfigMap and of the FlowRun, with the code as lines."""
    given = ["-p", 'names=["a"]', "-p", "tag=1", "--name", "daily", "-n", "team", "--workers", "0:3", "--dry-run"]
    done = submit(directory, "flows_here.py:greetings", *given)
    code, run = yaml.safe_load_all(done.stdout)

    assert done.returncode == 0
    assert code["data"] == {"flows_here.py": FLOWS.read_text()}
    assert "  flows_here.py: |" in done.stdout
    assert run["metadata"] == {"name": "daily", "namespace": "team"}
    assert run["spec"]["flow"]["parameters"] == {"names": ["a"], "tag": "1"}
    assert run["spec"]["flow"]["source"]["configMap"]["name"] == code["metadata"]["name"]
    assert run["spec"]["cluster"]["workers"] == {"minimum": 0, "maximum": 3}


@pytest.mark.parametrize(
    ("named", "ref"),
    [("analytics", {"name": "analytics"}), ("analytics/data", {"name": "analytics", "namespace": "data"})],
)
def test_run_uses_the_shared_cluster_that_the_command_names(named: str, ref: dict[str, str], directory: Path) -> None:
    done = submit(directory, "flows_here.py:greetings", "-p", "names=[]", "--cluster", named, "--dry-run", "--json")
    *_, run = json.loads(done.stdout)["items"]

    assert run["spec"]["cluster"] == {"ref": ref}


def test_dry_run_writes_json_for_programs(directory: Path) -> None:
    """Stdout is a List as JSON, which kubectl accepts as well."""
    done = submit(directory, "flows_here.py:greetings", "-p", "names=[]", "--dry-run", "--json")
    document = json.loads(done.stdout)

    assert (document["kind"], [item["kind"] for item in document["items"]]) == ("List", ["ConfigMap", "FlowRun"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flows_her.py:greetings"], "EntrypointNotFound: There is no file flows_her.py (did you mean "),
        (["flows_here.py:greetings"], "InvalidParameters: Flow 'greetings': parameter 'names' is missing."),
        # codespell:ignore-next-line nam
        (["flows_here.py:greetings", "-p", "nam=[]"], "unknown parameter 'nam' (did you mean 'names'?)"),
        (["flows_here.py:greetings", "-p", "names=[]", "--workers", "many"], "'--workers many': write a number"),
        (["flows_here.py:greetings", "-p", "names=[]", "--workers", "3:1"], "(3) is greater than the maximum (1)"),
        (["flows_here.py:greetings", "-p", "names=[]", "--cluster", "A/b"], "NAME or NAME/NAMESPACE, not 'A/b'"),
        (["flows_here.py:greetings", "-p", "names=[]", "--cluster", "a", "--workers", "2"], "Give either the number"),
        (["flows_here.py:Namespace.inner"], "'Namespace.inner' is not the name of a variable: only a flow"),
        (["flows_here:greetings", "-p", "names=[]"], "flows_here is a module, not a file, so its code is not sent"),
        (["flows_here.py:greetings", "-p", "names=[]"], "NotSubmitted: No Kubernetes is configured"),
        (["flows_here.py:greetings", "--dry-run", "--watch"], "--dry-run creates nothing that could be watched"),
    ],
)
def test_submit_reports_mistakes_before_it_creates_anything(
    directory: Path, arguments: list[str], message: str
) -> None:
    """The message has the mistake and what to do. The exit code is 2."""
    done = submit(directory, *arguments)

    assert done.returncode == 2
    assert message in done.stderr

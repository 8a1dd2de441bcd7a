"""The rights of a rig's operators: those that the chart grants, and no others."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import tempfile

import yaml

from tests.support.rig.client import Body, Client
from tests.support.rig.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from tools.chart import CHART
from tools.cluster import api

#: The operator's account of a release named ``flowcluster`` in the namespace ``system``.
OPERATOR = "system:serviceaccount:system:flowcluster"
_KINDS = {kind.name: kind for kind in (CLUSTER_ROLE, CLUSTER_ROLE_BINDING)}


def grant(client: Client) -> None:
    """Give the user `OPERATOR` what the chart gives to the operator."""
    for body in _rendered():
        client.create(_KINDS[body["kind"]].path(), body)


def is_forbidden(status: int, text: bytes) -> bool:
    """Whether an answer says that the operator lacks a right; admission refuses in other words."""
    return status == 403 and f'User \\"{OPERATOR}\\" cannot'.encode() in text


def _rendered() -> list[Body]:
    """Return the roles and bindings of the chart's template. The charts that it depends on have no part in them."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder) / CHART.name
        shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        del about["dependencies"]
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
        command = [str(api.tool("helm")), "template", "flowcluster", str(chart), "--namespace", "system"]
        done = subprocess.run(
            [*command, "--show-only", "templates/rbac.yaml"], capture_output=True, text=True, check=True
        )
    return [document for document in yaml.safe_load_all(done.stdout) if document]

"""The demo, with programs in place of kubectl and helm that record how they are called."""

from __future__ import annotations

import json
import os
import pathlib
import sys

import pytest

from tools.cluster.errors import ToolError
from tools.demo import NAMESPACE, SHARED, opened
from tools.install import Installed
from tools.output import Output

#: Records its arguments, prints the file `answer`, and fails where the file `fails` is.
_PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
echo "$(basename "$0") $*" >> calls
cat answer
test ! -e "$(basename "$0")-fails"
"""


@pytest.fixture
def installed(tmp_path: pathlib.Path) -> Installed:
    """An installation whose programs record how they are called, in the file `calls`."""
    for name in ("kubectl", "helm"):
        (tmp_path / name).write_text(_PROGRAM)
        (tmp_path / name).chmod(0o700)
    answer(tmp_path, {"items": []})
    (tmp_path / "calls").touch()
    return Installed(
        kubeconfig=tmp_path / "given", kubectl=tmp_path / "kubectl", helm=tmp_path / "helm", images={}, audit_log=None
    )


def answer(folder: pathlib.Path, document: object) -> None:
    (folder / "answer").write_text(json.dumps(document))


def calls(folder: pathlib.Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_each_line_of_a_program_has_its_prefix(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr)"
    output = Output([sys.executable, "-u", "-c", program], "  python │ ", os.environ)

    assert output.wait() == 0
    assert capfd.readouterr().out == "  python │ out\n  python │ err\n"


def test_program_ends_when_it_is_stopped() -> None:
    output = Output(["sleep", "600"], "", os.environ)

    output.stop()

    assert output.has_ended


def test_programs_use_the_namespace_of_the_demo(installed: Installed, tmp_path: pathlib.Path) -> None:
    with opened(installed):
        pass

    view, _, context = next(call.partition(" config ") for call in calls(tmp_path))
    assert (view, context) == (f"kubectl --kubeconfig {tmp_path / 'given'}", "view --raw --flatten")
    assert any(call.endswith(f"config set-context --current --namespace {NAMESPACE}") for call in calls(tmp_path))


def test_demo_uninstalls_the_shared_cluster_when_a_step_fails(installed: Installed, tmp_path: pathlib.Path) -> None:
    answer(tmp_path, {"status": {"phase": "Failed", "message": "no room"}})

    with pytest.raises(ToolError, match=f"sharedcluster {SHARED} is Failed"), opened(installed) as demo:
        demo.by_helm()

    assert [call.split()[1:3] for call in calls(tmp_path) if call.startswith("helm")] == [
        ["install", SHARED],
        ["uninstall", SHARED],
    ]


def test_demo_stops_when_a_command_fails(installed: Installed, tmp_path: pathlib.Path) -> None:
    (tmp_path / "helm-fails").touch()

    with pytest.raises(ToolError, match=r"`helm install .*` exited 1"), opened(installed) as demo:
        demo.by_helm()


def test_demo_removes_nothing_when_no_earlier_one_left_anything(installed: Installed, tmp_path: pathlib.Path) -> None:
    with opened(installed) as demo:
        (tmp_path / "answer").write_text("")
        demo.prepare()

        assert not [call for call in calls(tmp_path) if "delete" in call or "uninstall" in call]

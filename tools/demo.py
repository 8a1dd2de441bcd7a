"""The product's main job, to watch: ``python -m tools.demo``.

Brings everything up, runs two FlowRuns from manifests/samples, shows their phases and their flows' log lines as they
come, then the records, and that nothing else is left.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

from flowcluster_api import names
from tools.cluster.errors import ToolError
from tools.install import Installed, install

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMESPACE = "flowcluster-demo"
_SECONDS = 300
#: Between two looks at a run.
_LOOK_SECONDS = 0.4


class Demo:
    """One demonstration on an installed cluster."""

    def __init__(self, installed: Installed) -> None:
        self._kubectl = [str(installed.kubectl), "--kubeconfig", str(installed.kubeconfig), "--namespace", NAMESPACE]
        self._log: subprocess.Popen[bytes] | None = None

    def show(self, *arguments: str) -> None:
        """Run kubectl in the open: the command, and what it prints."""
        print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
        subprocess.run([*self._kubectl, *arguments], check=True, cwd=ROOT)

    def prepare(self) -> None:
        """A namespace of its own, without what an earlier demo left there."""
        subprocess.run([*self._kubectl, "create", "namespace", NAMESPACE], capture_output=True, check=False)
        subprocess.run([*self._kubectl, "delete", "flowruns", "--all"], stdout=subprocess.DEVNULL, check=True)

    def run(self, sample: str) -> str:
        """Apply a sample and watch its run to the end; the phase it ended in."""
        self.show("apply", "-f", f"manifests/samples/{sample}.yaml")
        started, last = time.monotonic(), ""
        status: dict[str, Any] = {}
        while status.get("phase") not in ("Succeeded", "Failed", "Cancelled"):
            if time.monotonic() - started > _SECONDS:
                raise ToolError(f"{sample} did not end within {_SECONDS} s: {status.get('message')}")
            time.sleep(_LOOK_SECONDS)
            status = self._get("flowrun", sample).get("status") or {}
            line = f"{status.get('phase', 'Pending'):<10} {status.get('message', '')}"
            if line != last:
                print(f"[{time.monotonic() - started:5.1f}s] {line}", flush=True)
                last = line
            self._follow(sample)
        if self._log is not None:
            self._log.wait()
            self._log = None
        if result := (status.get("flow") or {}).get("result"):
            print(f"result: {result}", flush=True)
        return str(status["phase"])

    def _follow(self, run: str) -> None:
        """Show the log of the run's driver from its start: the flow's log, with what its tasks print."""
        selector = f"{names.LABEL_RUN}={run},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
        for pod in self._get("pods", "--selector", selector).get("items", []) if self._log is None else []:
            if any("waiting" not in item["state"] for item in pod["status"].get("containerStatuses") or []):
                follow = [*self._kubectl, "logs", "--follow", pod["metadata"]["name"]]
                logs = subprocess.Popen(follow, stdout=subprocess.PIPE)
                # sed buffers nothing with -u, and sets the log apart from the phases.
                self._log = subprocess.Popen(["sed", "-u", "s/^/         │ /"], stdin=logs.stdout)
                return

    def _get(self, *what: str) -> dict[str, Any]:
        done = subprocess.run([*self._kubectl, "get", *what, "--output", "json"], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def main() -> None:
    """Run the demonstration; exit 1 when a run did not succeed."""
    try:
        demo = Demo(install())
        demo.prepare()
        phases = [demo.run("greetings"), demo.run("statistics")]
        demo.show("get", "flowruns")
        demo.show("get", "all")
    except ToolError as error:
        sys.exit(f"error: {error}")
    if set(phases) != {"Succeeded"}:
        sys.exit("a run of the demo did not succeed: see its message above")


if __name__ == "__main__":
    main()

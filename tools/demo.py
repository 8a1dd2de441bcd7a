"""The demo: ``python -m tools.demo``.

It starts everything and shows three ways to a cluster, one after the other:

1. FlowRuns by kubectl, each with a cluster of its own,
2. a flow of a Python program on this machine, whose cluster is in Kubernetes,
3. a shared cluster by helm, which a FlowRun and a Python program use at the same time.

For each way, it shows phases and log lines as they appear, then the records, and that nothing else is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from flowcluster_api import names
from flowcluster_api.conditions import FINAL_PHASES
from tools.chart import SHARED_CHART
from tools.cluster.errors import ToolError
from tools.cluster.progress import step
from tools.cluster.shell import run
from tools.install import Installed, install
from tools.output import Output

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMESPACE = "flowcluster-demo"
#: The release, and the SharedCluster that it installs: the name in `examples/shared_dask.py`.
SHARED = "shared-dask"
_SECONDS = 300
#: Time between two queries of an object (s).
_LOOK_SECONDS = 0.4
#: Time after which the user sees what the demo waits for (s).
_QUIET_SECONDS = 2
#: Prefixes of the log lines of a FlowRun's driver, and of the output of a Python program.
_DRIVER, _PYTHON = "         │ ", "  python │ "
#: The image's Python can have another patch level than this one, and Dask warns of each difference. The SDK warns of
#: those that matter.
_NO_VERSIONS = "ignore:Mismatched versions found"

Object = dict[str, Any]


class Demo:
    """One demonstration on an installed cluster.

    Args:
        installed: the cluster.
        kubeconfig: a kubeconfig of it, in which the namespace is that of the demo.
    """

    def __init__(self, installed: Installed, kubeconfig: pathlib.Path) -> None:
        self._programs = {"kubectl": str(installed.kubectl), "helm": str(installed.helm), "python": sys.executable}
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": _NO_VERSIONS,
        }
        self._outputs: list[Output] = []

    def show(self, *command: str) -> None:
        """Run a command, and show the command and its output.

        Raises:
            ToolError: it failed.
        """
        print(f"\n$ {' '.join(command)}", flush=True)
        done = subprocess.run([self._programs[command[0]], *command[1:]], check=False, cwd=ROOT, env=self._environment)
        if done.returncode:
            raise ToolError(f"`{' '.join(command)}` exited {done.returncode}: see above")

    def prepare(self) -> None:
        """Create the demo's namespace, and delete what an earlier demo left there."""
        self._quietly("kubectl", "create", "namespace", NAMESPACE)
        if self._names("sharedclusters,flowruns"):
            with step("removing what an earlier demo left"):
                self._quietly("helm", "uninstall", SHARED)
                self._quietly("kubectl", "delete", "sharedclusters,flowruns", "--all")
                self._wait_gone()

    def by_kubectl(self) -> None:
        """Show two FlowRuns with clusters of their own."""
        print("\n# 1. FlowRuns by kubectl, each with a cluster of its own", flush=True)
        self._run("greetings")
        self._run("statistics")
        self.show("kubectl", "get", "flowruns")
        self.show("kubectl", "get", "all")

    def from_python(self) -> None:
        """Show a program on this machine whose flow has a cluster in Kubernetes."""
        print("\n# 2. A flow in Python on this machine, with a cluster in Kubernetes", flush=True)
        before = self._names("flowruns")
        program = self._start("python", "examples/adaptive_dask.py")
        name = self._created_by(program, before)
        self._watch("flowrun", name, FINAL_PHASES)
        self._end(program)
        self.show("kubectl", "get", "flowrun", name)
        self.show("kubectl", "get", "all")

    def by_helm(self) -> None:
        """Show a shared cluster: its installation, two uses at the same time, and its removal."""
        print("\n# 3. A shared cluster by helm, for a FlowRun and a Python program at the same time", flush=True)
        chart = str(SHARED_CHART.relative_to(ROOT))
        self.show("helm", "install", SHARED, chart, "--set", "workers.minimum=1,workers.maximum=2")
        self._watch("sharedcluster", SHARED, ("Ready", "Failed"))
        self.show("kubectl", "get", "sharedclusters")
        before = self._names("flowruns")
        program = self._start("python", "examples/shared_dask.py", "&")
        self._created_by(program, before)
        self._run("greetings-shared")
        self._end(program)
        self._wait("the end of", self._unfinished)
        self.show("kubectl", "get", "flowruns")
        self.show("helm", "uninstall", SHARED)
        self._wait_gone()
        self.show("kubectl", "get", "sharedclusters,all")

    def close(self) -> None:
        """End what still runs: after a demo that failed or was interrupted."""
        for output in self._outputs:
            output.stop()
        self._quietly("helm", "uninstall", SHARED)

    def _run(self, sample: str) -> None:
        """Apply a sample and watch its run to the end."""
        self.show("kubectl", "apply", "-f", f"manifests/samples/{sample}.yaml")
        status = self._watch("flowrun", sample, FINAL_PHASES, has_log=True)
        if result := (status.get("flow") or {}).get("result"):
            print(f"result: {result}", flush=True)

    def _watch(self, kind: str, name: str, ends: Collection[str], *, has_log: bool = False) -> Object:
        """Show the phases of an object until it is in one of `ends`, and the log of its driver. Return its status.

        Raises:
            ToolError: it failed, or did not end in time.
        """
        started, last = time.monotonic(), ""
        log: Output | None = None
        while True:
            status: Object = json.loads(self._read("get", kind, name, "--output", "json")).get("status") or {}
            phase = status.get("phase", "Pending")
            line = f"{phase:<10} {status.get('message', '')}"
            if line != last:
                print(f"[{time.monotonic() - started:5.1f}s] {line}", flush=True)
                last = line
            if has_log and log is None:
                log = self._follow(name)
            if phase in ends:
                break
            if time.monotonic() - started > _SECONDS:
                raise ToolError(f"{name} did not end within {_SECONDS} s: {status.get('message')}")
            time.sleep(_LOOK_SECONDS)
        if log is not None:
            log.wait()
        if phase in ("Failed", "Cancelled"):
            raise ToolError(f"{kind} {name} is {phase}: see its message above")
        return status

    def _follow(self, name: str) -> Output | None:
        """Show the log of a run's driver from its start, with the prints of its tasks, as soon as there is one."""
        selector = f"{names.LABEL_RUN}={name},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
        for pod in json.loads(self._read("get", "pods", "--selector", selector, "--output", "json"))["items"]:
            if any("waiting" not in item["state"] for item in pod["status"].get("containerStatuses") or []):
                return self._output(["kubectl", "logs", "--follow", pod["metadata"]["name"]], _DRIVER)
        return None

    def _start(self, *command: str) -> Output:
        """Show and start a Python program. It runs while the next steps run."""
        print(f"\n$ {' '.join(command)}", flush=True)
        return self._output([word for word in command if word != "&"], _PYTHON)

    def _created_by(self, program: Output, before: set[str]) -> str:
        """Wait until a program has created a FlowRun, which is not among those before. Return its name."""
        while not (created := self._names("flowruns") - before):
            if program.has_ended:
                raise ToolError(f"the program exited {program.wait()} before it had a cluster: see above")
            time.sleep(_LOOK_SECONDS)
        return created.pop().partition("/")[2]

    def _end(self, program: Output) -> None:
        if code := program.wait():
            raise ToolError(f"the program exited {code}: see above")

    def _output(self, command: Sequence[str], prefix: str) -> Output:
        output = Output([self._programs[command[0]], *command[1:]], prefix, self._environment)
        self._outputs.append(output)
        return output

    def _unfinished(self) -> set[str]:
        """Return the FlowRuns that have not ended."""
        runs = json.loads(self._read("get", "flowruns", "--output", "json"))["items"]
        return {run["metadata"]["name"] for run in runs if (run.get("status") or {}).get("phase") not in FINAL_PHASES}

    def _wait_gone(self) -> None:
        """Wait until the garbage collector has deleted the objects of the runs and of the shared cluster."""
        self._wait("the deletion of", lambda: self._names("sharedclusters,all"))

    def _wait(self, what: str, left: Callable[[], set[str]]) -> None:
        """Wait until nothing is left, and show what the demo waits for when that takes long."""
        started, last = time.monotonic(), ""
        while found := left():
            seconds = time.monotonic() - started
            line = f"waiting for {what} {len(found)}: {min(found)}"
            if seconds > _SECONDS:
                raise ToolError(f"after {_SECONDS} s, still {line}")
            if seconds > _QUIET_SECONDS and line != last:
                print(f"[{seconds:5.1f}s] {line}", flush=True)
                last = line
            time.sleep(_LOOK_SECONDS)

    def _names(self, kinds: str) -> set[str]:
        return set(self._read("get", kinds, "--output", "name").split())

    def _read(self, *arguments: str) -> str:
        return run([self._programs["kubectl"], *arguments], env=self._environment)

    def _quietly(self, program: str, *arguments: str) -> None:
        """Run a command whose failure is ignored, such as a deletion of absent objects."""
        subprocess.run([self._programs[program], *arguments], capture_output=True, check=False, env=self._environment)


@contextlib.contextmanager
def opened(installed: Installed) -> Iterator[Demo]:
    """Yield a demo, and end what it started at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = pathlib.Path(folder) / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubectl, config = str(installed.kubectl), ("--kubeconfig", str(installed.kubeconfig), "config")
        kubeconfig.write_text(run([kubectl, *config, "view", "--raw", "--flatten"]))
        config = ("--kubeconfig", str(kubeconfig), "config")
        run([kubectl, *config, "set-context", "--current", "--namespace", NAMESPACE])
        demo = Demo(installed, kubeconfig)
        try:
            yield demo
        finally:
            demo.close()


def main() -> None:
    """Run the demo, and exit with 1 if a part of it failed."""
    try:
        with opened(install()) as demo:
            demo.prepare()
            demo.by_kubectl()
            demo.from_python()
            demo.by_helm()
    except ToolError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the records of runs stay until the next demo")


if __name__ == "__main__":
    main()

"""The time that the project's modules add to a flow run on an existing Dask cluster.

20 modules of 100 kB, all imported by the first task. ``first`` is the first run of a version, with the transfer and the
import; ``again`` is another run of the same version; ``none`` is a run of a script without modules. Each is a process
of its own, and prints the seconds of its flow run.

    python -m tests.bench.project_code [--quick]
"""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from tests.bench.common import options

MODULES, SIZE, BOUND = 20, 100_000, 0.5

_SCRIPT = """
import sys, time
{imports}
from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner

@task
def use():
    return {used}

@flow(task_runner=DaskTaskRunner(address=sys.argv[1]))
def run():
    began = time.perf_counter()
    use.submit().result()
    return time.perf_counter() - began

if __name__ == "__main__":
    print(run())
"""


def write(folder: pathlib.Path, version: str, modules: int) -> pathlib.Path:
    """Write a script and its modules, which differ from those of other versions."""
    function = "def function_{0}(value):\n    return [value + {0}, 'version {1}']\n"
    for number in range(modules):
        count, text = 0, ""
        while len(text) < SIZE:
            text += function.format(count, version)
            count += 1
        (folder / f"part_{number}.py").write_text(text)
    names = [f"part_{number}" for number in range(modules)]
    used = " + ".join(["0", *(f"{name}.function_0(1)[0]" for name in names)])
    script = folder / "script.py"
    script.write_text(_SCRIPT.format(imports="\n".join(f"import {name}" for name in names), used=used))
    return script


def seconds(script: pathlib.Path, address: str) -> float:
    """Run the script once, and return how long its task took."""
    environment = {**os.environ, "FLOWCLUSTER_LOGGING_LEVEL": "WARNING"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return float(subprocess.check_output([sys.executable, str(script), address], text=True, env=environment))


def main() -> int:
    """Print the figures, and return 1 if one exceeds its bound."""
    import distributed

    chosen = options(__doc__, tasks=1)
    found: dict[str, list[float]] = {"none": [], "first": [], "again": []}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        tempfile.TemporaryDirectory() as place,
    ):
        for repeat in range(chosen.repeats):
            folders = [pathlib.Path(place, f"{kind}-{repeat}") for kind in ("none", "some")]
            for folder in folders:
                folder.mkdir()
            none, some = write(folders[0], str(repeat), 0), write(folders[1], str(repeat), MODULES)
            seconds(none, cluster.scheduler_address)
            found["none"].append(seconds(none, cluster.scheduler_address))
            found["first"].append(seconds(some, cluster.scheduler_address))
            found["again"].append(seconds(some, cluster.scheduler_address))
    medians = {name: statistics.median(values) for name, values in found.items()}
    added = {name: medians[name] - medians["none"] for name in ("first", "again")}
    for name, value in added.items():
        print(f"{name:6} adds {value:6.3f} s  (bound {BOUND} s)")
    return int(max(added.values()) > BOUND)


if __name__ == "__main__":
    sys.exit(main())

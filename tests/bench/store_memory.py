"""Measure the operator's memory with many runs: ``python -m tests.bench.store_memory [--sample FILE]``.

The objects of one live run and the record of a finished one come from the rig. A process with the operator's modules
stores copies of them, with names and UIDs of their own, in pages as from listings. It prints its resident memory
and the bytes per run and per record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, cast

from flowcluster_api import names
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from tests.support.waiting import wait_until

_WORKERS = 2
#: Bound: MiB with 1,000 live runs of 2 workers and 5,000 records.
_BOUND = 150
_PAGE = 200
_NAME, _RECORD = "live-00000", "over-00000"
#: Our operator's modules without the Kubernetes clients that kopf imports where they are installed, as in its image.
_PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(("kubernetes", "kubernetes_asyncio", "pykube")))
from tests.bench.store_memory import fill
fill(*sys.argv[1:])
"""


def sample(path: pathlib.Path, kind: str) -> None:
    """Write the objects of a live run and of a record, as the API server returns them."""
    from flowcluster_operator.resources import ACCESS, WATCHED
    from tests.support.chaos import played
    from tests.support.rig.kinds import FLOW_RUN
    from tests.support.rig.operator import RigOperator
    from tests.support.rig.rig import Rig

    spec = {
        "flow": {"entrypoint": "flows.py:flow", "parameters": {"names": ["arthur", "trillian"]}},
        "cluster": {"kind": kind, "workers": {"minimum": _WORKERS, "maximum": _WORKERS}},
    }
    outcome = Outcome(
        state="Completed", reason="FlowCompleted", message="all tasks completed", exit_code=EXIT_COMPLETED
    )
    with Rig() as rig:
        view = rig.create_namespace("sample")
        with RigOperator(rig, view.namespace):
            for name in (_RECORD, _NAME):
                body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}
                rig.client.create(FLOW_RUN.path(view.namespace), body)
                _wait_for(view, name, "Running")
                if name == _RECORD:
                    (driver,) = view.pods("driver")
                    played.end_pod(rig.client, driver, outcome)
                    _wait_for(view, name, "Succeeded")
            objects = {}
            for resource in (*WATCHED, *ACCESS):
                found = rig.client.listed(resource.path(view.namespace), whole=True)["items"]
                objects[resource.kind] = [
                    obj for obj in found if names.LABEL_RUN_UID in obj["metadata"].get("labels", {})
                ]
            for name in (_NAME, _RECORD):
                objects[name] = [rig.client.get(FLOW_RUN.path(view.namespace, name))]
    path.write_text(json.dumps(objects))


def _wait_for(view: Any, name: str, phase: str) -> None:
    wait_until(lambda: view.status(name).get("phase") == phase, f"{name} is {phase}", 180)


def fill(path: str, runs: str, records: str) -> None:
    """Store copies of the sample, and print the memory."""
    from kopf._core.reactor.inventory import ResourceMemories

    from flowcluster_operator import handlers  # all modules of the operator
    from flowcluster_operator.resources import BY_KIND, FLOW_RUN
    from flowcluster_operator.settings import Settings

    operator, memories = handlers.Operator(Settings()), ResourceMemories()
    objects: dict[str, list[dict[str, Any]]] = json.loads(pathlib.Path(path).read_text())
    live, record = objects.pop(_NAME), objects.pop(_RECORD)
    before = _resident()
    _say(f"modules of the operator: {before / 2**20:.0f} MiB")

    async def take(kind: str, text: list[str], name: str, number: int) -> None:
        step = max(1, _PAGE // max(1, len(text)))
        for first in range(0, number, step):
            page = [_copy(each, name, copy) for copy in range(first, min(first + step, number)) for each in text]
            operator.store.listed(BY_KIND.get(kind, FLOW_RUN), page)
            if kind == names.KIND:
                for body in page:  # kopf keeps some data of each object that it watches
                    await memories.recall(cast("Any", body))

    async def story() -> None:
        await take(names.KIND, [json.dumps(obj) for obj in live], _NAME, int(runs))
        for kind, items in objects.items():
            await take(kind, [json.dumps(obj) for obj in items], _NAME, int(runs))
        filled = _resident()
        _say(f"{runs} live runs with {_WORKERS} workers: {(filled - before) / int(runs) / 1024:.1f} KiB a run")
        await take(names.KIND, [json.dumps(obj) for obj in record], _RECORD, int(records))
        _say(f"{records} records: {(_resident() - filled) / int(records) / 1024:.1f} KiB a record")

    asyncio.run(story())
    assert len(operator.store.run_ids()) == int(runs) + int(records)
    total = _resident() / 2**20
    _say(f"in all: {total:.0f} MiB (bound {_BOUND}{'' if total <= _BOUND else ', MISSED'})")


def _copy(text: str, name: str, number: int) -> dict[str, Any]:
    """Return a copy with other names, and other UIDs, which end in the same way."""
    uids = _uids(text)
    for uid in uids:
        text = text.replace(uid, f"{number:08x}{uid[8:]}")
    copy: dict[str, Any] = json.loads(text.replace(name, f"{name.partition('-')[0]}-{number:05}"))
    return copy


def _uids(text: str) -> set[str]:
    found = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if name in ("uid", names.LABEL_RUN_UID) and isinstance(item, str):
                    found.add(item)
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(json.loads(text))
    return found


def _resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Take a sample and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="live runs (default %(default)s)")
    parser.add_argument("--records", type=int, default=5000, help="records of runs that are over (default %(default)s)")
    parser.add_argument("--kind", choices=["Dask", "Ray"], default="Dask")
    parser.add_argument("--sample", type=pathlib.Path, help="file for the sample, which is taken unless it exists")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.sample or pathlib.Path(folder) / "sample.json"
        if not path.exists():
            sample(path, options.kind)
        command = [sys.executable, "-c", _PROGRAM, str(path), str(options.runs), str(options.records)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

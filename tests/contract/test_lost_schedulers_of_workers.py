"""Workers in pods that lose their scheduler: they have to end, so that Kubernetes starts them again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flowcluster_api import names
from flowcluster_api.keeper import Bounds
from tests.support.dask_processes import DaskProcesses
from tests.support.kept import CLUSTER, Kept
from tests.support.meeting import Gate, wait_at
from tests.support.waiting import wait_until

WORKER = f"{names.group_name(CLUSTER, 'default')}-worker-0123456789"
#: Seconds in which a worker ends whose task does not. Dask alone waits 30 s for the task.
QUICK_SECONDS = 10
#: Seconds in which a worker ends whose task has started a thread that keeps a process alive.
END_SECONDS = 20


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A cluster of one worker."""
    with DaskProcesses.start(tmp_path_factory.mktemp("dask")) as processes:
        processes.add_worker(WORKER)
        yield processes


@pytest.fixture
def kept(processes: DaskProcesses, quick_keeper: None) -> Iterator[Kept]:
    """A keeper of that cluster."""
    with Kept.start() as kept:
        kept.instruct(default=Bounds(1, 1))
        with kept.keeper("Dask", processes.address):
            kept.wait_for_demand(default=1)
            yield kept


def wait_beside_a_thread(address: str) -> None:
    """Wait at a gate in this thread and in another one, which is not a daemon."""
    threading.Thread(target=wait_at, args=[address], daemon=False).start()
    wait_at(address)


@pytest.mark.parametrize("loss", ["killed", "closed"])
@pytest.mark.parametrize(("task", "seconds"), [(wait_at, QUICK_SECONDS), (wait_beside_a_thread, END_SECONDS)])
def test_worker_does_not_wait_for_its_task_when_its_scheduler_is_lost(
    loss: str, task: object, seconds: float, kept: Kept, processes: DaskProcesses, gate: Gate
) -> None:
    with processes.client() as client:
        future = client.submit(task, gate.address)
        wait_until(lambda: any(future.key in keys for keys in client.processing().values()), "it is executed", 30)
        if loss == "killed":
            processes.kill_scheduler()
        else:
            processes.close_scheduler()

        wait_until(lambda: processes.has_ended(WORKER), "the worker has ended", seconds)

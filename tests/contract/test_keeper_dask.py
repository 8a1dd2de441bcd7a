"""The keeper of a shared Dask cluster: it scales groups by demand, and removes what ended runs leave."""

from __future__ import annotations

import itertools
from asyncio import CancelledError
from collections.abc import Iterator
from typing import Any

import distributed
import pytest
from dask.utils import key_split

from flowcluster_api import names, tags
from flowcluster_api.keeper import Bounds
from tests.support.dask_processes import DaskProcesses
from tests.support.kept import CLUSTER, HOLDER, Kept
from tests.support.meeting import Gate, wait_at
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("keeper")  # they share a cluster

FIXED, GPU = Bounds(1, 3), Bounds(0, 2, 4, (("GPU", 2.0),))
FIRST, LAST = (f"{names.group_name(CLUSTER, group)}-worker-0123456789" for group in ("default", "gpu"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A cluster of one worker of the first group."""
    with DaskProcesses.start(tmp_path_factory.mktemp("dask")) as processes:
        processes.add_worker(FIRST)
        yield processes


@pytest.fixture
def kept(processes: DaskProcesses, quick_keeper: None) -> Iterator[Kept]:
    """A keeper of that cluster with two groups and no run."""
    with Kept.start() as kept:
        kept.instruct(default=FIXED, gpu=GPU)
        with kept.keeper("Dask", processes.address):
            kept.wait_for_demand(default=1)
            yield kept


@pytest.fixture
def watcher(processes: DaskProcesses) -> Iterator[Any]:
    """A client that belongs to no run."""
    with processes.client() as client:
        client.wait_for_workers(1, timeout=60)
        yield client


def same(value: float) -> float:
    """Return the value."""
    return value


def held(dask_scheduler: Any) -> dict[str, list[str]]:
    """Return, on the scheduler, all that clients of runs can leave."""
    extensions = dask_scheduler.extensions
    return {
        "clients": sorted(client for client in dask_scheduler.clients if "run." in client),
        "others": sorted(
            name for name in dask_scheduler.clients if name.startswith(("published-", "variable-", "queue-"))
        ),
        "keys": sorted(map(str, dask_scheduler.tasks)),
        "published": sorted(map(str, extensions["publish"].datasets)),
        "variables": sorted(extensions["variables"].variables),
        "queues": sorted(extensions["queues"].queues),
        "topics": sorted(name for name in dask_scheduler._broker._topics if "run." in name),
    }


def wait_until_empty(watcher: Any) -> None:
    """Wait until the scheduler has nothing of any run."""
    wait_until(lambda: not any(watcher.run_on_scheduler(held).values()), "the scheduler has nothing of a run", 30)


def test_keeper_renews_the_lease_and_reports_idleness(kept: Kept) -> None:
    progress = wait_until(lambda: kept.signs().progress, "the keeper reports")

    assert kept.signs().holder == HOLDER
    assert progress is not None
    assert (progress.tasks, progress.idle is None) == (None, False)


def test_each_group_scales_with_the_tasks_that_request_its_resources(kept: Kept, watcher: Any, gate: Gate) -> None:
    plain = watcher.map(wait_at, [gate.address] * 7, pure=False)
    asking = watcher.map(wait_at, [gate.address] * 3, pure=False, resources={"GPU": 1})

    kept.wait_for_demand(default=3, gpu=2)
    watcher.cancel([*plain, *asking])
    gate.close()
    kept.wait_for_demand(default=1, gpu=0)


def test_idle_worker_retires_from_its_own_group(kept: Kept, processes: DaskProcesses, watcher: Any) -> None:
    processes.add_worker(LAST, 4, {"GPU": 2})
    watcher.wait_for_workers(2, timeout=60)

    retired = wait_until(lambda: (kept.signs().demand or _NOTHING).retired, "a worker has retired")

    assert retired == (LAST,)
    processes.remove_worker(LAST)
    wait_until(lambda: not (kept.signs().demand or _NOTHING).retired, "the worker is no longer in the demand")


class _NOTHING:
    retired = ()


def test_run_that_is_no_longer_listed_leaves_nothing(
    kept: Kept, processes: DaskProcesses, watcher: Any, gate: Gate
) -> None:
    kept.instruct(("uid-1",))
    client = processes.client(tags.dask_client_name("uid-1"))
    future = client.submit(same, 0)
    future.result()
    client.publish_dataset(future, name="mine")
    distributed.Variable("mine", client=client).set(future)
    distributed.Queue("mine", client=client).put(future)
    distributed.fire_and_forget(client.submit(wait_at, gate.address))
    client.log_event(client.id, {"text": "mine"})
    wait_until(lambda: watcher.run_on_scheduler(held)["published"], "the run has published something")

    kept.instruct()
    wait_until_empty(watcher)
    client.close(2)


def test_data_that_an_unlisted_client_published_stays(kept: Kept, processes: DaskProcesses, watcher: Any) -> None:
    kept.instruct(("uid-2",))
    watcher.publish_dataset(watcher.submit(same, 0), name="common")
    with processes.client(tags.dask_client_name("uid-2")) as client:
        client.publish_dataset(client.submit(same, 0), name="mine")
        with pytest.raises(KeyError):
            client.publish_dataset(client.submit(same, 0), name="common")

    kept.instruct()

    wait_until(lambda: watcher.list_datasets() == ("common",), "only the data of the run is gone")
    watcher.unpublish_dataset("common")


def test_listed_run_keeps_what_it_has_while_others_are_released(
    kept: Kept, processes: DaskProcesses, watcher: Any
) -> None:
    kept.instruct(("uid-3", "uid-4"))
    with processes.client(tags.dask_client_name("uid-3")) as staying:
        future = staying.submit(same, 0)
        leaving = processes.client(tags.dask_client_name("uid-4"))
        lost = leaving.submit(same, 0, pure=False)
        lost.result()

        kept.instruct(("uid-3",))
        wait_until(lambda: not _of("uid-4", watcher), "the other run is released")

        assert future.result() == 0
        assert _of("uid-3", watcher)
        leaving.close(2)


def _of(uid: str, watcher: Any) -> list[str]:
    return [client for client in watcher.run_on_scheduler(held)["clients"] if uid in client]


def test_client_of_a_released_run_cannot_come_back(kept: Kept, processes: DaskProcesses, watcher: Any) -> None:
    kept.instruct(("uid-5",))
    client = processes.client(tags.dask_client_name("uid-5"))
    kept.instruct()
    wait_until(lambda: not _of("uid-5", watcher), "the run is released")

    # The scheduler disconnects it each time it reconnects, until it gives up.
    with pytest.raises((OSError, TimeoutError, CancelledError)):
        processes.client(tags.dask_client_name("uid-5"), timeout=5).submit(same, 0).result(timeout=5)

    assert not _of("uid-5", watcher)
    client.close(2)


def test_arguments_of_a_released_run_are_not_kept_for_debugging(
    kept: Kept, processes: DaskProcesses, watcher: Any
) -> None:
    kept.instruct(("uid-6",))
    client = processes.client(tags.dask_client_name("uid-6"))
    numbers = itertools.count()

    def is_kept() -> bool:
        key = f"of-uid-6-{next(numbers)}"
        client.submit(same, 0, key=key).result()
        return key in watcher.run_on_scheduler(sent)

    # The keeper deletes all messages for each run that it releases, also for a client of another test that comes back.
    wait_until(is_kept, "the scheduler keeps a message to a worker")

    kept.instruct()

    wait_until(lambda: not of_run(watcher.run_on_scheduler(sent)), "the messages to workers are deleted")
    wait_until(lambda: watcher.run_on_scheduler(cached_names) == 0, "the names of its tasks are deleted")
    client.close(2)


def of_run(keys: list[str]) -> list[str]:
    """Return those keys that tasks of the run have."""
    return [key for key in keys if key.startswith("of-uid-6-")]


def sent(dask_scheduler: Any) -> list[str]:
    """Return, on the scheduler, the keys of the tasks whose messages to workers it keeps."""
    batches = [batch for stream in dask_scheduler.stream_comms.values() for batch in stream.recent_message_log]
    return [str(message["key"]) for batch in batches for message in batch if message.get("op") == "compute-task"]


def cached_names(dask_scheduler: Any) -> int:
    """Return, on the scheduler, how many names of tasks Dask has cached."""
    return int(key_split.cache_info().currsize)


def test_client_cannot_restart_or_stop_a_shared_cluster(kept: Kept, processes: DaskProcesses, watcher: Any) -> None:
    wait_until(lambda: kept.signs().demand, "the keeper looks")

    with pytest.raises(PermissionError, match="SharedCluster"):
        watcher.sync(watcher.scheduler.terminate)
    with pytest.raises(PermissionError, match="SharedCluster"):
        watcher.restart()


def test_keeper_finds_a_scheduler_that_restarted(kept: Kept, processes: DaskProcesses, gate: Gate) -> None:
    processes.kill_scheduler()
    processes.start_scheduler()
    processes.remove_worker(FIRST)
    processes.add_worker(FIRST)

    with processes.client() as client:
        futures = client.map(wait_at, [gate.address] * 3, pure=False)
        kept.wait_for_demand(default=3)
        client.cancel(futures)
        kept.wait_for_demand(default=1)

"""The keeper of a Ray cluster: it reports idleness, and cleans up after runs. Ray's autoscaler scales the cluster.

It uses Ray's own protocol to query the head's GCS: the dashboard's REST API can end neither drivers nor actors. The
keeper runs in the cluster's image, so both have the same version of Ray.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from ray.core.generated import (
    autoscaler_pb2,
    autoscaler_pb2_grpc,
    common_pb2,
    gcs_pb2,
    gcs_service_pb2,
    gcs_service_pb2_grpc,
)

from flowcluster.agent.activity import Activity
from flowcluster.agent.keeper.ended_runs import EndedRuns
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.keeper.shares import shares_of
from flowcluster_api import tags
from flowcluster_api.driver import TOKEN_FILE
from flowcluster_api.keeper import Instructions
from flowcluster_api.lease import Demand

logger = logging.getLogger("flowcluster.keeper")

#: Seconds between two polls; seconds to wait for an answer; number of failed polls after which the keeper logs them.
INTERVAL, TIMEOUT, _MANY_FAILURES = 2.0, 5.0, 5
#: Maximum drivers of released runs that the keeper remembers.
_MOST_DRIVERS = 20


class RayKeeper:
    """Polls the head of a shared cluster.

    Args:
        address: of the head's GCS.
        credentials: folder with the cluster's token; None for a cluster without a token.
        heartbeat: has the instructions, and reports the demand.
        activity: records each observation.
    """

    def __init__(self, address: str, credentials: Path | None, heartbeat: Heartbeat, activity: Activity) -> None:
        self._address, self._heartbeat, self._activity = address, heartbeat, activity
        token = credentials and (credentials / TOKEN_FILE).read_text().strip()
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._ended_runs = EndedRuns()
        #: Drivers of released runs. They can still run, and submit tasks.
        self._drivers: collections.deque[Any] = collections.deque(maxlen=_MOST_DRIVERS)
        self._idle = 0
        self._busy_periods = 0
        self._written = ""

    async def run(self) -> None:
        """Poll until cancelled. Repeat a failed poll over a new connection."""
        failures = 0
        while True:
            try:
                async with grpc.aio.insecure_channel(self._address) as channel:
                    while True:
                        await self._poll(channel)
                        failures = 0
                        await asyncio.sleep(INTERVAL)
            except grpc.RpcError as error:
                failures += 1
                self._written = ""
                if failures == _MANY_FAILURES:
                    logger.warning("The head at %s does not answer; trying again: %s", self._address, _words(error))
            await asyncio.sleep(INTERVAL)

    async def _poll(self, channel: Any) -> None:
        instructions, reading = self._heartbeat.instructions, self._heartbeat.reading
        if instructions is None:
            return
        head = Head(channel, self._metadata)
        idle, has_waiting = await head.load()
        if idle < self._idle:
            self._busy_periods += 1  # there was work since the last poll
        self._idle = idle
        self._activity.record_scheduler(idle == 0, self._busy_periods)
        self._heartbeat.report.publish(Demand(0))
        await self._write_shares(head, instructions)
        held = await head.held()
        if over := self._ended_runs.over(held, instructions.digests, reading):
            logger.info("Releasing jobs and data of ended runs: %s", ", ".join(over))
            for uid in over:
                await head.release(uid, held[uid])
                self._drivers.extend(held[uid].drivers)
        if has_waiting:
            for driver in self._drivers:
                await head.drop_tasks(driver)

    async def _write_shares(self, head: Head, instructions: Instructions) -> None:
        """Write the share of each run into the head's key-value store, where the runs read it."""
        text = json.dumps(shares_of(instructions)._asdict(), sort_keys=True)
        if text != self._written:
            await head.put(tags.RAY_SHARES, text.encode())
            self._written = text


class Load(NamedTuple):
    """The work of a cluster.

    Attributes:
        idle: milliseconds for which no task and no actor has run or waited.
        has_waiting: whether tasks or actors wait.
    """

    idle: int
    has_waiting: bool


class Holdings:
    """The jobs and actors of a run at a head. A run can also have only entries in the key-value store.

    Attributes:
        jobs: ids of its jobs that have not ended.
        drivers: addresses of the drivers of these jobs.
        actors: ids of its living actors.
    """

    def __init__(self) -> None:
        self.jobs: list[bytes] = []
        self.drivers: list[Any] = []
        self.actors: list[bytes] = []


class Head:
    """Client for the GCS of a head.

    Every method raises ``grpc.RpcError`` if the head does not answer.

    Args:
        channel: connection to the GCS.
        metadata: metadata of each request, with the token.
    """

    def __init__(self, channel: Any, metadata: list[tuple[str, str]]) -> None:
        self._channel, self._metadata = channel, metadata

    async def load(self) -> Load:
        """Return the work of the cluster."""
        stub = autoscaler_pb2_grpc.AutoscalerStateServiceStub(self._channel)
        answer = await self._call(
            stub.GetClusterResourceState,
            autoscaler_pb2.GetClusterResourceStateRequest(last_seen_cluster_resource_state_version=0),
        )
        state = answer.cluster_resource_state
        if state.pending_resource_requests or state.pending_gang_resource_requests:
            return Load(0, has_waiting=True)
        alive = [node for node in state.node_states if node.status != autoscaler_pb2.NodeStatus.DEAD]
        return Load(min((int(node.idle_duration_ms) for node in alive), default=0), has_waiting=False)

    async def held(self) -> dict[str, Holdings]:
        """Return the holdings of runs, by UID."""
        found: dict[str, Holdings] = {}
        jobs = gcs_service_pb2_grpc.JobInfoGcsServiceStub(self._channel)
        request = gcs_service_pb2.GetAllJobInfoRequest(
            skip_submission_job_info_field=True, skip_is_running_tasks_field=True
        )
        runs: dict[bytes, str] = {}
        for job in (await self._call(jobs.GetAllJobInfo, request)).job_info_list:
            if uid := job.config.metadata.get(tags.RAY_METADATA):
                runs[job.job_id] = uid
                if not job.is_dead:
                    holdings = found.setdefault(uid, Holdings())
                    holdings.jobs.append(job.job_id)
                    holdings.drivers.append(job.driver_address)
        actors = gcs_service_pb2_grpc.ActorInfoGcsServiceStub(self._channel)
        for actor in (
            await self._call(actors.GetAllActorInfo, gcs_service_pb2.GetAllActorInfoRequest())
        ).actor_table_data:
            uid = runs.get(actor.job_id)
            if uid is not None and actor.state != gcs_pb2.ActorTableData.DEAD:
                found.setdefault(uid, Holdings()).actors.append(actor.actor_id)
        store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(self._channel)
        for namespace in tags.RAY_NAMESPACES:
            request = gcs_service_pb2.InternalKVKeysRequest(prefix=b"", namespace=namespace)
            for key in (await self._call(store.InternalKVKeys, request)).results:
                uid, separator, _ = key.decode(errors="replace").partition(tags.RAY_SEPARATOR)
                if separator:
                    found.setdefault(uid, Holdings())
        return found

    async def release(self, uid: str, held: Holdings) -> None:
        """End the jobs and actors of a run, with their tasks, and delete its entries in the key-value store."""
        jobs = gcs_service_pb2_grpc.JobInfoGcsServiceStub(self._channel)
        for job in held.jobs:
            await self._call(jobs.MarkJobFinished, gcs_service_pb2.MarkJobFinishedRequest(job_id=job))
        for driver in held.drivers:
            await self.drop_tasks(driver)
        actors = gcs_service_pb2_grpc.ActorInfoGcsServiceStub(self._channel)
        for actor in held.actors:
            request = gcs_service_pb2.KillActorViaGcsRequest(actor_id=actor, force_kill=True, no_restart=True)
            await self._call(actors.KillActorViaGcs, request)
        store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(self._channel)
        for namespace in tags.RAY_NAMESPACES:
            prefix = f"{uid}{tags.RAY_SEPARATOR}".encode()
            request = gcs_service_pb2.InternalKVDelRequest(key=prefix, namespace=namespace, del_by_prefix=True)
            await self._call(store.InternalKVDel, request)

    async def drop_tasks(self, driver: Any) -> None:
        """Drop the waiting tasks of a driver by the report that the driver has failed.

        The end of a job ends only the running tasks. The others would wait as long as the driver runs, and Ray's
        autoscaler would start workers for them.
        """
        workers = gcs_service_pb2_grpc.WorkerInfoGcsServiceStub(self._channel)
        failure = gcs_pb2.WorkerTableData(
            is_alive=False, worker_address=driver, worker_type=common_pb2.DRIVER, exit_detail="The FlowRun is over."
        )
        request = gcs_service_pb2.ReportWorkerFailureRequest(worker_failure=failure)
        await self._call(workers.ReportWorkerFailure, request)

    async def put(self, key: bytes, value: bytes) -> None:
        """Write an entry into the key-value store."""
        store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(self._channel)
        request = gcs_service_pb2.InternalKVPutRequest(
            key=key, value=value, namespace=tags.RAY_NAMESPACE, overwrite=True
        )
        await self._call(store.InternalKVPut, request)

    async def _call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self._metadata, timeout=TIMEOUT)


def _words(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else repr(error)

"""The status of a FlowRun: what the operator observed. No other client writes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flowcluster_api.conditions import Phase
from flowcluster_api.driver import REASON_LIMIT, RESULT_LIMIT
from flowcluster_api.v1alpha1.base import ApiModel

#: Maximum story entries: the operator removes the oldest.
STORY_LIMIT = 30
#: Maximum characters of a message that the operator writes into status.
MESSAGE_LIMIT = 1024

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Message = Annotated[str, Field(max_length=32_768)]


class Condition(ApiModel):
    """One aspect of the run, as in metav1.Condition."""

    type: str = Field(max_length=316, description="Which aspect.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=REASON_LIMIT, description="Why, in one CamelCase word.")
    message: Message = Field(default="", description="Why, in a sentence.")
    last_transition_time: Time = Field(description="When status changed last.")
    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that the operator observed."
    )


class WorkerCounts(ApiModel):
    """Numbers of workers of the cluster."""

    minimum: int = Field(default=0, description="From the spec.")
    maximum: int = Field(default=0, description="From the spec, after the administrator's limit.")
    target: int = Field(
        default=0, description="Demand within minimum and maximum: of the driver or keeper, or of Ray's autoscaler."
    )
    requested: int = Field(default=0, description="Written to the cluster resource.")
    ready: int = Field(default=0, description="Observed as Ready.")


class SchedulerIdentity(ApiModel):
    """The scheduler or head that the run uses. Another one has no record of the run's tasks."""

    pod: str = Field(description="Name of the pod.")
    uid: str = Field(description="UID of the pod.")
    restarts: int = Field(default=0, description="Restarts of its container when it became Ready.")


class ClusterStatus(ApiModel):
    """The run's cluster."""

    kind: str = Field(description="Dask or Ray.")
    name: str | None = Field(
        default=None, description="Name of the DaskCluster or RayCluster. Absent while the run is suspended."
    )
    address: str | None = Field(default=None, description="Address for drivers in this Kubernetes cluster.")
    dashboard: str | None = Field(default=None, description="URL of its dashboard, inside this Kubernetes cluster.")
    workers: WorkerCounts = Field(default=WorkerCounts(), description="Its workers.")
    scheduler: SchedulerIdentity | None = Field(default=None, description="Its scheduler or head, once Ready.")
    peak_workers: int = Field(default=0, description="The most workers that were Ready at the same time.")
    worker_seconds: int = Field(default=0, description="Seconds of Ready workers, added up until workersTime.")
    workers_time: Time | None = Field(default=None, description="When the number of Ready workers changed last.")


class TaskRunCounts(ApiModel):
    """Task runs of the flow."""

    total: int = Field(default=0, description="Created.")
    running: int = Field(default=0, description="Started and not ended.")
    completed: int = Field(default=0, description="Ended successfully.")
    failed: int = Field(default=0, description="Ended without success.")


class PodIdentity(ApiModel):
    """A pod."""

    name: str = Field(description="Its name.")
    uid: str = Field(description="Its UID.")


class FlowStatus(ApiModel):
    """The flow, as its driver reports it."""

    job: str | None = Field(default=None, description="Name of the Job, if the operator started the driver.")
    attempts: int = Field(default=0, description="Attempts so far. Each one has a pod of its own.")
    ended_attempts: int = Field(default=0, description="Attempts that ended and were followed by another one.")
    failed_attempts: int = Field(
        default=0, description="Attempts on clusters that were lost, as far as they count against backoffLimit."
    )
    lost_clusters: int = Field(default=0, description="Clusters that were lost and replaced by another one.")
    last_attempt: PodIdentity | None = Field(default=None, description="The pod of the newest attempt.")
    exit_code: int | None = Field(default=None, description="Exit code of the driver in its last attempt.")
    tasks: TaskRunCounts | None = Field(default=None, description="Task runs, as the driver counted them.")
    tasks_time: Time | None = Field(default=None, description="When the counts of a running flow changed last.")
    result: str | None = Field(
        default=None, max_length=RESULT_LIMIT, description="The flow's return value as JSON, where it is small."
    )
    result_url: str | None = Field(
        default=None,
        max_length=RESULT_LIMIT,
        description="Where the return value was stored, pickled, where it is not small.",
    )
    result_omitted: str | None = Field(
        default=None, max_length=REASON_LIMIT, description="Why the return value is in neither of these."
    )


class StoryEntry(ApiModel):
    """Something that happened to the run."""

    time: Time = Field(description="When.")
    reason: str = Field(max_length=REASON_LIMIT, description="What, in one CamelCase word.")
    message: Message = Field(default="", description="What, in a sentence.")
    part: str | None = Field(
        default=None, max_length=63, description="Of a cause: the part of the run that it is about, e.g. worker."
    )


class Display(ApiModel):
    """Pairs of numbers as `kubectl get` shows them: a printer column can show one field only."""

    workers: str | None = Field(default=None, max_length=32, description="Ready and target workers, e.g. 2/2.")
    tasks: str | None = Field(default=None, max_length=32, description="Completed and all task runs, e.g. 8/8.")


class FlowRunStatus(ApiModel):
    """The state of the run, as the operator observed it."""

    phase: Phase | None = Field(default=None, description="The present phase of the run.")
    final_phase: Literal["Succeeded", "Failed", "Cancelled"] | None = Field(
        default=None, description="Set when the run ends: the phase of the run once nothing of it is left."
    )
    reason: str | None = Field(default=None, max_length=REASON_LIMIT, description="Why, in one CamelCase word.")
    message: Message | None = Field(default=None, description="Why, in one line that a user can act on.")
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "maxItems": 16},
        description="Aspects of the run, each with its reason.",
    )
    cluster: ClusterStatus | None = Field(default=None, description="The run's cluster.")
    flow: FlowStatus | None = Field(default=None, description="The flow, as its driver reports it.")
    display: Display | None = Field(default=None, description="What the columns of kubectl get show.")
    start_time: Time | None = Field(default=None, description="When the operator began to create cluster and driver.")
    lost_time: Time | None = Field(
        default=None,
        description="When the cluster was lost; removed when another one is created.",
    )
    rebuild_time: Time | None = Field(default=None, description="When the operator began to replace a lost cluster.")
    ready_time: Time | None = Field(default=None, description="When the cluster was usable and the flow started.")
    finish_time: Time | None = Field(default=None, description="When the run ended.")
    cluster_deleted_time: Time | None = Field(
        default=None, description="When the operator verified that nothing of the run is left."
    )
    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that the operator observed."
    )
    operator: str | None = Field(
        default=None,
        max_length=253,
        description="The installation of the operator that handles the run, as NAMESPACE/NAME. Other installations "
        "ignore the run.",
    )
    story: list[StoryEntry] = Field(
        default_factory=list, json_schema_extra={"maxItems": STORY_LIMIT}, description="What happened, oldest first."
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the status as the API server stores it: camelCase, without unset fields."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")

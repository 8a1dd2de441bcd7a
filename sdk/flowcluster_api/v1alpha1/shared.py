"""The spec and the status of a SharedCluster. `kubectl explain` prints the descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flowcluster_api.conditions import SharedPhase
from flowcluster_api.driver import REASON_LIMIT
from flowcluster_api.v1alpha1.base import ApiModel, config_with, rules
from flowcluster_api.v1alpha1.spec import (
    OPERATOR_CLASS,
    WHOLE_ON_RAY,
    Image,
    Namespace,
    Scheduler,
    Workers,
)  # fmt: skip
from flowcluster_api.v1alpha1.status import (
    STORY_LIMIT,
    Condition,
    Display,
    Message,
    SchedulerIdentity,
    StoryEntry,
    Time,
    WorkerCounts,
)

#: Maximum number of further worker groups.
GROUP_LIMIT = 16
#: Names that Dask and Ray clusters use for their own groups.
RESERVED_GROUPS = ("default", "head", "headgroup", "scheduler", "worker", "workers")

_GROUP_ON_RAY = (
    "self.kind != 'Ray' || !has(self.workerGroups) || self.workerGroups.all(group, !has(group.taskResources) || "
    "group.taskResources.all(name, group.taskResources[name] == double(int(group.taskResources[name]))))"
)
_RESERVED = ", ".join(f"'{name}'" for name in RESERVED_GROUPS)


class WorkerGroup(Workers):
    """Further workers, with resources of their own."""

    name: str = Field(
        min_length=1,
        max_length=30,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the group. Tasks reach its workers by what taskResources offers.",
    )


class SharedClusterSpec(ApiModel):
    """A long-running cluster that many runs and clients use."""

    model_config = config_with(
        rules(
            WHOLE_ON_RAY,
            (_GROUP_ON_RAY, "workerGroups: on Ray, taskResources of a worker must be whole numbers"),
            (
                f"!has(self.workerGroups) || self.workerGroups.all(group, !(group.name in [{_RESERVED}]))",
                f"workerGroups: the names {', '.join(RESERVED_GROUPS)} are reserved",
            ),
        )
    )

    kind: Literal["Dask", "Ray"] = Field(description="Kind of the cluster.")
    image: Image | None = Field(
        default=None,
        description="Image of scheduler, workers and keeper; it needs flowcluster. Default: the runtime image that the "
        "administrator set.",
    )
    workers: Workers | None = Field(default=None, description="The workers: how many, and the resources of each.")
    worker_groups: list[WorkerGroup] = Field(
        default_factory=list,
        json_schema_extra={
            "maxItems": GROUP_LIMIT,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        description="Further workers with resources of their own, such as GPUs.",
    )
    scheduler: Scheduler | None = Field(default=None, description="The Dask scheduler or the Ray head.")
    suspend: bool = Field(
        default=False, description="While true, the cluster does not exist. Runs on it end as ClusterLost."
    )
    idle_shutdown_seconds: Annotated[int, Field(ge=10, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds without a task and without a run after which the whole cluster is shut down, its "
        "scheduler or head too. It starts again when a FlowRun names it. Absent: never.",
    )
    upgrade: Literal["WhenIdle", "Now"] = Field(
        default="WhenIdle",
        description="When an edit of image, templates, worker size or worker groups replaces the cluster. WhenIdle: "
        "when nothing runs on it. Now: immediately, and runs on it end as ClusterLost.",
    )
    allowed_namespaces: list[Namespace] = Field(
        default_factory=list,
        json_schema_extra={"maxItems": 64, "x-kubernetes-list-type": "set"},
        description="Further namespaces whose runs can use the cluster. Runs of its own namespace always can.",
    )
    operator_class: Annotated[str, Field(max_length=63, pattern=OPERATOR_CLASS)] | None = Field(
        default=None,
        description="Class of the operator that handles the cluster: the chart's value operatorClass. Absent: an "
        "operator without a class.",
    )


class GroupCounts(WorkerCounts):
    """Workers of one group."""

    name: str = Field(description="Name of the group; default for those of spec.workers.")


class SharedClusterStatus(ApiModel):
    """The state of the cluster, as the operator observed it."""

    phase: SharedPhase | None = Field(default=None, description="The present phase of the cluster.")
    reason: str | None = Field(default=None, max_length=REASON_LIMIT, description="Why, in one CamelCase word.")
    message: Message | None = Field(default=None, description="Why, in one line that a user can act on.")
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "maxItems": 16},
        description="Aspects of the cluster, each with its reason.",
    )
    kind: str | None = Field(default=None, description="Dask or Ray.")
    name: str | None = Field(default=None, description="Name of the DaskCluster or RayCluster, while there is one.")
    address: str | None = Field(default=None, description="Address for drivers in this Kubernetes cluster.")
    dashboard: str | None = Field(default=None, description="URL of its dashboard, inside this Kubernetes cluster.")
    scheduler: SchedulerIdentity | None = Field(default=None, description="Its scheduler or head, once Ready.")
    workers: list[GroupCounts] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "maxItems": GROUP_LIMIT + 1,
        },
        description="Workers by group.",
    )
    runs: int | None = Field(default=None, description="FlowRuns that use the cluster or wait for it.")
    restarts: int | None = Field(default=None, description="How often a lost cluster was rebuilt.")
    quick_losses: int | None = Field(
        default=None, description="Consecutive losses, each within minutes of the cluster becoming Ready."
    )
    display: Display | None = Field(default=None, description="What the columns of kubectl get show.")
    start_time: Time | None = Field(default=None, description="When the operator began to create the present cluster.")
    ready_time: Time | None = Field(default=None, description="When the cluster became usable.")
    lost_time: Time | None = Field(
        default=None, description="When the cluster was lost; removed when another one is usable."
    )
    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that the operator observed."
    )
    operator: str | None = Field(
        default=None,
        max_length=253,
        description="The installation of the operator that handles the cluster, as NAMESPACE/NAME.",
    )
    story: list[StoryEntry] = Field(
        default_factory=list, json_schema_extra={"maxItems": STORY_LIMIT}, description="What happened, oldest first."
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the status as the API server stores it: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")

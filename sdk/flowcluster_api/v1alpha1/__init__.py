"""FlowRun and SharedCluster, version v1alpha1, as pydantic models: the source of the CRDs and their reference."""

from flowcluster_api.v1alpha1.shared import GroupCounts, SharedClusterSpec, SharedClusterStatus, WorkerGroup
from flowcluster_api.v1alpha1.spec import Cluster, ClusterRef, Flow, FlowRunSpec, Scheduler, Source, Workers
from flowcluster_api.v1alpha1.status import (
    ClusterStatus,
    Condition,
    Display,
    FlowRunStatus,
    FlowStatus,
    SchedulerIdentity,
    StoryEntry,
    WorkerCounts,
)

__all__ = [
    "Cluster",
    "ClusterRef",
    "ClusterStatus",
    "Condition",
    "Display",
    "Flow",
    "FlowRunSpec",
    "FlowRunStatus",
    "FlowStatus",
    "GroupCounts",
    "Scheduler",
    "SchedulerIdentity",
    "SharedClusterSpec",
    "SharedClusterStatus",
    "Source",
    "StoryEntry",
    "WorkerCounts",
    "WorkerGroup",
    "Workers",
]

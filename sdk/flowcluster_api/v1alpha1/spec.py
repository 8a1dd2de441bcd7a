"""The spec of a FlowRun: what a person asks for. Descriptions are what `kubectl explain` prints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from flowcluster_api.v1alpha1.base import OPAQUE, ApiModel, rules

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
QUANTITY = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$"
#: A DNS label: the class is the value of a label of all children.
OPERATOR_CLASS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Quantities = Annotated[
    dict[str, Any],
    Field(
        json_schema_extra={
            "maxProperties": 32,
            "additionalProperties": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
                "pattern": QUANTITY,
            },
        }
    ),
]


def _with(extra: dict[str, Any]) -> ConfigDict:
    return ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, json_schema_extra=extra
    )


class ConfigMapSource(ApiModel):
    """A ConfigMap whose keys are the flow's files."""

    name: Name = Field(description="Name of the ConfigMap, in the FlowRun's namespace.")


class Source(ApiModel):
    """Where the flow's code comes from when the image does not hold it."""

    config_map: ConfigMapSource = Field(
        description="A ConfigMap with the code, mounted read-only as the flow's working directory."
    )


class Resources(ApiModel):
    """Requests and limits of a container, as in a pod."""

    requests: Quantities | None = Field(default=None, description="What the scheduler reserves, e.g. cpu: 500m.")
    limits: Quantities | None = Field(default=None, description="What the container may use at most.")


class Flow(ApiModel):
    """The flow that the operator runs."""

    image: Image | None = Field(
        default=None, description="Image of the driver. Default: the runtime image that the administrator set."
    )
    entrypoint: str = Field(
        min_length=3,
        max_length=512,
        pattern=r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_]*$",
        description="The flow function: file.py:function, or package.module:function.",
    )
    source: Source | None = Field(default=None, description="Code to mount, so that no image must be built for it.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="Arguments of the flow function, by name; checked against its annotations when it starts.",
    )
    template: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="PodTemplateSpec laid over the driver's pod: env, serviceAccountName, resources, volumes, "
        "nodeSelector. The container to change is called driver.",
    )
    backoff_limit: int = Field(
        default=0,
        ge=0,
        le=20,
        description="How often the run is tried again before it is Failed: with another driver when the driver "
        "failed, on another cluster when the cluster was lost.",
    )


class Workers(ApiModel):
    """The cluster's workers."""

    model_config = _with(
        rules(("!has(self.maximum) || self.minimum <= self.maximum", "minimum must not be greater than maximum"))
    )

    minimum: int = Field(default=0, ge=0, le=10_000, description="Workers that the cluster has at least.")
    maximum: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="Workers that the cluster has at most. Default: the minimum, and at least one.",
    )
    threads: int = Field(default=1, ge=1, le=512, description="Tasks that one worker runs at the same time.")
    resources: Resources | None = Field(default=None, description="Requests and limits of each worker.")
    task_resources: dict[str, float] = Field(
        default_factory=dict,
        json_schema_extra={"maxProperties": 32},
        description="What one worker offers to tasks that ask for it (dask.annotate(resources=...), "
        "remote_options(resources=...)), e.g. GPU: 1.",
    )
    template: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="PodTemplateSpec laid over each worker's pod. The container to change is called worker.",
    )


class Scheduler(ApiModel):
    """The Dask scheduler, or the Ray head."""

    resources: Resources | None = Field(default=None, description="Requests and limits of its container.")
    template: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="PodTemplateSpec laid over its pod. The container to change is called scheduler, or head on Ray.",
    )


class ClusterRef(ApiModel):
    """A cluster that exists already."""

    name: Name = Field(description="Name of the DaskCluster or RayCluster, in the FlowRun's namespace.")


class Cluster(ApiModel):
    """The cluster that the flow's tasks run on."""

    model_config = _with(
        rules(
            (
                "!has(self.ref) || !(has(self.workers) || has(self.scheduler) || has(self.image))",
                "ref names an existing cluster: leave out image, workers and scheduler",
            ),
            (
                "self.kind != 'Ray' || !has(self.workers) || !has(self.workers.taskResources) || "
                "self.workers.taskResources.all(name, self.workers.taskResources[name] == "
                "double(int(self.workers.taskResources[name])))",
                "workers.taskResources: on Ray, a worker offers whole numbers alone",
            ),
        )
    )

    kind: Literal["Dask", "Ray"] = Field(description="What the cluster is.")
    image: Image | None = Field(
        default=None, description="Image of scheduler and workers. Default: the flow's, so that they cannot differ."
    )
    workers: Workers | None = Field(default=None, description="The workers: how many, and what each may use.")
    scheduler: Scheduler | None = Field(default=None, description="The Dask scheduler or the Ray head.")
    ref: ClusterRef | None = Field(
        default=None,
        description="Use this existing cluster: it is never scaled and never deleted. The run waits until its "
        "scheduler or head is Ready, and ends as ClusterLost when it is lost.",
    )


class FlowRunSpec(ApiModel):
    """What to run, on what, and for how long."""

    model_config = _with(rules(("has(self.flow) || has(self.cluster)", "give flow, cluster, or both")))

    flow: Flow | None = Field(default=None, description="The flow to run. Absent: its driver runs elsewhere.")
    cluster: Cluster | None = Field(
        default=None, description="The cluster to run it on. Absent: the flow's own task runner decides."
    )
    operator_class: Annotated[str, Field(max_length=63, pattern=OPERATOR_CLASS)] | None = Field(
        default=None,
        description="Class of the operator that handles the run: the chart's value operatorClass. Absent: an operator "
        "without a class.",
    )
    start_deadline_seconds: Seconds = Field(
        default=600,
        description="Seconds until the cluster is usable and the flow started; after that the run fails "
        "with the cause. A driver that runs elsewhere renews the run's Lease first within this time. The clock stops "
        "while the run is suspended.",
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None, description="Seconds that the whole run may take, from its start."
    )
    idle_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds without a task on the run's own cluster after which the run ends: as Failed with a flow, "
        "else as Cancelled. A driver that does not report its work keeps the run.",
    )
    lease_duration_seconds: Annotated[int, Field(ge=10, le=3600)] | None = Field(
        default=None,
        description="Seconds of silence after which a driver that runs elsewhere counts as gone. If given, "
        "from the run's start on; by default 60, once a driver has renewed the run's Lease.",
    )
    ttl_seconds_after_finished: int = Field(
        default=86_400, ge=0, le=31_536_000, description="Seconds that the record of a finished run is kept."
    )
    suspend: bool = Field(default=False, description="While true, nothing of the run exists.")
    cancel: bool = Field(default=False, description="Stop the run and keep its record.")

"""The spec of a FlowRun: what a user requests. `kubectl explain` prints the descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from flowcluster_api.v1alpha1.base import OPAQUE, ApiModel, config_with, rules

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
QUANTITY = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$"
#: A DNS label: each child has the class as the value of a label.
OPERATOR_CLASS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
#: Name of a namespace: a DNS label.
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=OPERATOR_CLASS)]
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
    limits: Quantities | None = Field(default=None, description="The most that the container can use.")


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
        description="PodTemplateSpec merged into the driver's pod: env, serviceAccountName, resources, volumes, "
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

    model_config = config_with(
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
        description="What one worker offers to tasks that request it (dask.annotate(resources=...), "
        "remote_options(resources=...)), e.g. GPU: 1.",
    )
    template: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="PodTemplateSpec merged into each worker's pod. The container to change is called worker.",
    )


class Scheduler(ApiModel):
    """The Dask scheduler, or the Ray head."""

    resources: Resources | None = Field(default=None, description="Requests and limits of its container.")
    template: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=OPAQUE,
        description="PodTemplateSpec merged into its pod. The container to change is called scheduler, or head on Ray.",
    )


class Share(ApiModel):
    """How much of a SharedCluster a run can use."""

    threads: int = Field(ge=1, le=100_000, description="Tasks that the run has in flight at most.")


class ClusterRef(ApiModel):
    """A cluster that exists already."""

    model_config = config_with(
        rules(
            (
                "!has(self.kind) || self.kind == 'SharedCluster' || "
                "!(has(self.__namespace__) || has(self.priority) || has(self.share))",
                "namespace, priority and share are of a SharedCluster: leave them out",
            ),
        )
    )

    kind: Literal["SharedCluster", "DaskCluster", "RayCluster"] | None = Field(
        default=None,
        description="Kind of the cluster. Default: a SharedCluster; where cluster.kind is given, a DaskCluster or "
        "RayCluster.",
    )
    name: Name = Field(
        description="Name of the SharedCluster; or of a DaskCluster or RayCluster in the FlowRun's namespace."
    )
    namespace: Namespace | None = Field(
        default=None,
        description="Namespace of the SharedCluster, which must allow the FlowRun's. Default: the FlowRun's.",
    )
    priority: int | None = Field(
        default=None,
        ge=-100,
        le=100,
        description="Priority of the run's tasks among those of other runs: a larger number first. Default: 0.",
    )
    share: Share | None = Field(default=None, description="How much of the SharedCluster the run can use.")


#: Kind of the cluster, by the kind of the object that `ref` names.
REFERENCED_KINDS: dict[str, Literal["Dask", "Ray"]] = {"DaskCluster": "Dask", "RayCluster": "Ray"}
WHOLE_ON_RAY = (
    "self.kind != 'Ray' || !has(self.workers) || !has(self.workers.taskResources) || "
    "self.workers.taskResources.all(name, self.workers.taskResources[name] == "
    "double(int(self.workers.taskResources[name])))",
    "workers.taskResources: on Ray, a worker offers whole numbers only",
)


class Cluster(ApiModel):
    """The cluster that the flow's tasks run on."""

    model_config = config_with(
        rules(
            (
                "!has(self.ref) || !(has(self.workers) || has(self.scheduler) || has(self.image))",
                "ref names an existing cluster: leave out image, workers and scheduler",
            ),
            (WHOLE_ON_RAY[0].replace("self.kind", "(has(self.kind) ? self.kind : '')"), WHOLE_ON_RAY[1]),
            ("has(self.kind) || has(self.ref)", "kind must be Dask or Ray, unless ref names an existing cluster"),
            (
                "!has(self.kind) || !has(self.ref) || !has(self.ref.kind) || self.ref.kind == self.kind + 'Cluster'",
                "kind and ref.kind contradict each other: leave kind out",
            ),
            (
                "!has(self.kind) || !has(self.ref) || "
                "!(has(self.ref.__namespace__) || has(self.ref.priority) || has(self.ref.share))",
                "with kind, ref names a DaskCluster or RayCluster, without namespace, priority and share: leave kind "
                "out for a SharedCluster",
            ),
        )
    )

    kind: Literal["Dask", "Ray"] | None = Field(
        default=None, description="Kind of the cluster. Absent where ref names a SharedCluster, which has the kind."
    )
    image: Image | None = Field(
        default=None, description="Image of scheduler and workers. Default: the flow's, so that they cannot differ."
    )
    workers: Workers | None = Field(default=None, description="The workers: how many, and the resources of each.")
    scheduler: Scheduler | None = Field(default=None, description="The Dask scheduler or the Ray head.")
    ref: ClusterRef | None = Field(
        default=None,
        description="Use this existing cluster: it is never scaled and never deleted. The run waits until its "
        "scheduler or head is Ready, and ends as ClusterLost when it is lost.",
    )

    @model_validator(mode="before")
    @classmethod
    def _add_kind(cls, data: Any) -> Any:
        """Add the kind that follows from the reference; refuse a cluster without a kind."""
        if not isinstance(data, dict) or data.get("kind") is not None:
            return data
        ref = data.get("ref")
        if ref is None:
            raise ValueError("kind must be Dask or Ray, unless ref names an existing cluster")
        named = ref.get("kind") if isinstance(ref, dict) else getattr(ref, "kind", None)
        kind = REFERENCED_KINDS.get(named) if isinstance(named, str) else None
        return data if kind is None else {**data, "kind": kind}

    @property
    def uses_shared(self) -> bool:
        """Whether `ref` names a SharedCluster: with a DaskCluster or RayCluster, `kind` is set."""
        return self.ref is not None and self.kind is None


class FlowRunSpec(ApiModel):
    """What to run, on what, and for how long."""

    model_config = config_with(rules(("has(self.flow) || has(self.cluster)", "give flow, cluster, or both")))

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
        description="Seconds within which the cluster must be usable and the flow started. After that the run fails, "
        "with the cause. A driver that runs elsewhere must renew the run's Lease for the first time within these "
        "seconds. They start again when a suspended run is resumed.",
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None, description="Seconds that the whole run can take, from its start."
    )
    idle_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds without a task on the run's own cluster after which the run ends: as Failed with a flow, "
        "else as Cancelled. A driver that does not report its work keeps the run.",
    )
    lease_duration_seconds: Annotated[int, Field(ge=10, le=3600)] | None = Field(
        default=None,
        description="Seconds without a heartbeat after which a driver that runs elsewhere counts as gone. If given, "
        "they count from the run's start. Default: 60, from the first renewal of the run's Lease.",
    )
    ttl_seconds_after_finished: int = Field(
        default=86_400, ge=0, le=31_536_000, description="Seconds that the record of a finished run is kept."
    )
    suspend: bool = Field(
        default=False, description="While true, the operator creates nothing for the run, and deletes what exists."
    )
    cancel: bool = Field(default=False, description="Stop the run and keep its record.")

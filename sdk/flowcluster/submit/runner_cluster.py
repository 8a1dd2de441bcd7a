"""Translation of a flow's task runner into the fields of a FlowRun's spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster.clusters.adapt import UNLIMITED
from flowcluster.clusters.manifest import Object, cluster_spec
from flowcluster.clusters.shared_ref import describe_ref, shared_ref
from flowcluster.kube.choice import Choice

#: The package of the cluster classes.
_CLUSTERS = "flowcluster.clusters"
#: In place of a kind. The SharedCluster determines the kind.
_SHARED = "Shared"
#: The cluster classes that a FlowRun can replace: module and kind by name.
_CLASSES: dict[str, tuple[str, str | None]] = {
    "DaskKubernetesCluster": (f"{_CLUSTERS}.dask_kubernetes", "Dask"),
    "RayKubernetesCluster": (f"{_CLUSTERS}.ray_kubernetes", "Ray"),
    "SharedKubernetesCluster": (f"{_CLUSTERS}.shared_dask", _SHARED),
    "SharedRayKubernetesCluster": (f"{_CLUSTERS}.shared_ray", _SHARED),
}

#: Arguments of the class that are fields of the FlowRun's spec outside of ``cluster``.
_FIELDS = {
    "start_deadline_seconds": "startDeadlineSeconds",
    "active_deadline_seconds": "activeDeadlineSeconds",
    "idle_timeout_seconds": "idleTimeoutSeconds",
    "lease_duration_seconds": "leaseDurationSeconds",
    "ttl_seconds_after_finished": "ttlSecondsAfterFinished",
}
_CLUSTER = ("image", "n_workers", "resources", "env", "workers", "scheduler")

#: A number of workers, or their minimum and maximum.
Workers = int | tuple[int, int]


class RunnerCluster(NamedTuple):
    """The cluster that a task runner requests, as parts of a FlowRun.

    Attributes:
        spec: fields of the FlowRun's spec; empty if the task runner requests no cluster.
        name: of the FlowRun, if the runner names one.
        choice: where the FlowRun is created.
    """

    spec: Object
    name: str | None = None
    choice: Choice = Choice()


def cluster_of_runner(runner: Any, workers: Workers | None, shared: str | None = None) -> RunnerCluster:
    """Return what a task runner requests, as fields of a FlowRun.

    Args:
        runner: of the flow.
        workers: replace the runner's number of workers. If the runner requests no cluster, they request one.
        shared: ``NAME`` or ``NAME/NAMESPACE`` of a SharedCluster, which replaces the runner's cluster.

    Raises:
        ValueError: a FlowRun cannot have an argument; the message names it.
    """
    if shared is not None:
        if workers is not None:
            raise ValueError("Give either the number of workers or a SharedCluster, which has its own workers.")
        return RunnerCluster({"cluster": {"ref": shared_ref(shared)}})
    kind = _kind(getattr(runner, "cluster_class", None))
    found = _of(runner, kind) if kind is not None else RunnerCluster({})
    if workers is None:
        return found
    bounds = _bounds(workers)
    cluster: Object = found.spec.get("cluster") or {"kind": runner.cluster_kind}
    if "ref" in cluster:
        raise ValueError(f"{describe_ref(cluster['ref'])} has its own workers: leave the number of workers out.")
    cluster = cluster | {"workers": (cluster.get("workers") or {}) | bounds}
    return found._replace(spec=found.spec | {"cluster": cluster})


def _kind(cluster_class: Any) -> str | None:
    """Return the kind of cluster that a class of this package makes; None for another class."""
    if isinstance(cluster_class, str):
        module, _, name = cluster_class.rpartition(".")
    else:
        module, name = (str(getattr(cluster_class, field, "")) for field in ("__module__", "__qualname__"))
    ours, kind = _CLASSES.get(name, ("", None))
    return kind if module in (ours, _CLUSTERS) else None


def _of(runner: Any, kind: str) -> RunnerCluster:
    left = dict(runner.cluster_kwargs)
    cluster, name = _shared(runner, left) if kind == _SHARED else _own(runner, kind, left)
    fields = {field: left.pop(name) for name, field in _FIELDS.items() if left.get(name) is not None}
    choice = Choice(**{field: left.pop(field, None) for field in Choice._fields})
    left = {name: value for name, value in left.items() if value is not None}
    _refuse(left, "cluster_kwargs", "")
    for option in ("client_kwargs", "performance_report_path"):
        if getattr(runner, option, None):
            raise ValueError(f"task_runner: a FlowRun has no field for {option}; use a runner without it to submit.")
    return RunnerCluster({"cluster": cluster, **fields}, name, choice)


def _own(runner: Any, kind: str, left: Object) -> tuple[Object, str | None]:
    """Return ``spec.cluster`` of a run with a cluster of its own, and the FlowRun's name; take both out of `left`."""
    given = {name: left.pop(name, None) for name in _CLUSTER}
    cluster = cluster_spec(kind, **given)
    if runner.adapt_kwargs or given["n_workers"] is None:
        cluster["workers"] |= _adapted(runner.adapt_kwargs)
    return cluster, left.pop("name", None)


def _shared(runner: Any, left: Object) -> tuple[Object, str | None]:
    """Return what `_own` returns, for a run on a SharedCluster."""
    if runner.adapt_kwargs:
        raise ValueError("task_runner: adapt_kwargs have no effect on a SharedCluster; leave them out.")
    _refuse({name: left[name] for name in left if name == "idle_timeout_seconds"}, "cluster_kwargs", "")
    ref = shared_ref(left.pop("name", ""), left.pop("priority", None), left.pop("share", None))
    return {"ref": ref}, left.pop("run_name", None)


def _adapted(given: Mapping[str, Any]) -> Object:
    """Return the bounds of workers. Without a maximum, the limit that the operator's administrator set applies."""
    left = dict(given)
    minimum, maximum = left.pop("minimum", None), left.pop("maximum", None)
    _refuse(left, "adapt_kwargs", ", only for minimum and maximum")
    return _bounds((0 if minimum is None else minimum, UNLIMITED if maximum is None else maximum))


def _refuse(left: Mapping[str, Any], where: str, why: str) -> None:
    for name in left:
        raise ValueError(f"task_runner: a FlowRun has no field for {where}[{name!r}]{why}; leave it out to submit.")


def _bounds(workers: Workers) -> Object:
    low, high = workers if isinstance(workers, tuple) else (workers, workers)
    for number in (low, high):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"The number of workers must be a whole number, 0 or more, not {number!r}.")
    if low > high:
        raise ValueError(f"The minimum of workers ({low}) is greater than the maximum ({high}).")
    return {"minimum": low, "maximum": high}

"""Lives of a shared cluster, and of runs on it: scripts of what users, its keeper and its autoscaler do."""

from __future__ import annotations

from collections.abc import Callable

from flowcluster_api import lease, names
from flowcluster_api.driver import EXIT_COMPLETED, Outcome
from tests.support.chaos import played
from tests.support.chaos.trial import SUBJECT, Trial
from tests.support.rig.kinds import FLOW_RUN, SHARED_CLUSTER

_GROUP = "gpu"
_SPEC = {
    "workers": {"minimum": 1, "maximum": 3},
    "workerGroups": [{"name": _GROUP, "minimum": 1, "maximum": 2, "taskResources": {"GPU": 1}}],
}
#: Workers at first, and after the work has come.
_FEW, _MANY = 2, {"Dask": 5, "Ray": 4}
_KEEPER = "keeper-elsewhere/1"
#: What the cluster has besides what the upstream operators make of it. A run has some of it, too.
_CHILDREN = {
    f"NetworkPolicy {names.COMPONENT_CLUSTER}",
    *(f"{kind} {names.COMPONENT_KEEPER}" for kind in ("Deployment", "ServiceAccount", "Role", "RoleBinding", "Pod")),
}
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="the flow completed", exit_code=EXIT_COMPLETED)


def _create(trial: Trial) -> None:
    """Create the cluster, and wait until it is usable and complete: an operator that was refused retries after 5 s."""
    trial.create_owner(SHARED_CLUSTER, {"kind": trial.kind, **_SPEC})
    _wait_usable(trial)


def _wait_usable(trial: Trial) -> None:
    trial.wait_shared("Ready")
    trial.wait_workers(_FEW)
    trial.wait_children(_CHILDREN)


def _use(trial: Trial) -> None:
    """Create a run on the cluster, and wait until its flow has run for a while."""
    flow = {"entrypoint": "flows.py:flow", "parameters": {"name": "x"}}
    trial.create_owner(FLOW_RUN, {"flow": flow, "cluster": {"ref": {"name": SUBJECT}}})
    trial.wait_driver()


def _scale(trial: Trial) -> None:
    """Have the cluster grow, and shrink again."""
    acquired = played.now()

    def renew(workers: int, gpu: int, *retired: str) -> None:
        demand = lease.Demand(workers, retired, ((_GROUP, gpu),))
        trial.patch_lease(lease.renewal(_KEEPER, lease.DURATION, played.now(), acquired, demand))

    if trial.kind == "Ray":
        for workers in (_MANY["Ray"], _FEW):
            trial.scale_ray(workers - 1)
            trial.wait_workers(workers)
        return
    renew(3, 2)
    trial.wait_workers(_MANY["Dask"])
    deployments = trial.worker_names()
    of_group = [name for name in deployments if f"-{_GROUP}-" in name]
    surplus = [*of_group[1:], *[name for name in deployments if name not in of_group][1:]]
    renew(1, 1, *surplus)
    trial.wait_workers(_FEW)


def _delete(trial: Trial) -> None:
    trial.delete(SHARED_CLUSTER)
    trial.wait_gone(SHARED_CLUSTER)
    trial.wait_empty()


def use(trial: Trial) -> None:
    """A run uses the cluster, which follows the work. The user deletes the cluster when the run has ended."""
    _create(trial)
    _use(trial)
    _scale(trial)
    trial.end_driver(_GOOD)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    _delete(trial)


def suspend(trial: Trial) -> None:
    """The user suspends the cluster, resumes it when nothing is left, and deletes it."""
    _create(trial)
    trial.patch_spec(SHARED_CLUSTER, suspend=True)
    trial.wait_shared("Suspended")
    trial.wait_empty()
    trial.patch_spec(SHARED_CLUSTER, suspend=False)
    _wait_usable(trial)
    _delete(trial)


def upgrade(trial: Trial) -> None:
    """The user replaces the cluster while a run is on it, which ends by that, and deletes the next one."""
    _create(trial)
    _use(trial)
    trial.wait_phase("Running")  # an operator that has seen no driver counts no attempt
    replaced = {cluster.uid for cluster in trial.clusters()}
    trial.patch_spec(SHARED_CLUSTER, image="runtime:next", upgrade="Now")
    trial.wait_phase("Failed")
    trial.wait(
        lambda: [cluster for cluster in trial.clusters() if cluster.uid not in replaced],
        f"another {trial.cluster_kind.name} exists",
    )
    _wait_usable(trial)
    _delete(trial)


#: By name, in the order in which they are run.
SCENARIOS: dict[str, Callable[[Trial], None]] = {
    "shared-use": use,
    "shared-suspend": suspend,
    "shared-upgrade": upgrade,
}


def needed_pods(scenario: str, kind: str) -> dict[str, int]:
    """Return how many pods of each component a scenario needs at most."""
    clusters = 1 if scenario == "shared-use" else 2
    workers = _MANY[kind] if scenario == "shared-use" else clusters * _FEW
    drivers = {} if scenario == "shared-suspend" else {"Pod driver": 1}
    leaders = {f"Pod {component}": clusters for component in (names.HEAD_COMPONENTS[kind], names.COMPONENT_KEEPER)}
    return {**drivers, **leaders, "Pod worker": workers}

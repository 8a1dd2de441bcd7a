"""Lives of runs and shared clusters: what users, drivers and clusters do. A scenario waits, the operator acts."""

from __future__ import annotations

from collections.abc import Callable

from flowcluster_api import lease
from flowcluster_api.driver import EXIT_COMPLETED, EXIT_FAILED, Outcome
from tests.support.chaos import played, shared
from tests.support.chaos.trial import Trial

_WORKERS = 2
_MOST = 5
_HOLDER = "driver-elsewhere/1"
_GOOD = Outcome(state="Completed", reason="FlowCompleted", message="the flow completed", exit_code=EXIT_COMPLETED)
_BAD = Outcome(state="Failed", reason="FlowFailed", message="the flow failed", exit_code=EXIT_FAILED)
_FIXED = {"minimum": _WORKERS, "maximum": _WORKERS}


def _work(trial: Trial) -> None:
    """The cluster comes up and the flow runs: as the pods show it, whether or not the operator has noticed."""
    trial.wait_workers(_WORKERS)
    trial.wait_driver()


def _run(trial: Trial) -> None:
    """The operator reports that the run runs, and all of it exists: an operator that was refused retries after 5 s."""
    trial.wait_phase("Running")
    trial.wait_rights()


def success(trial: Trial) -> None:
    """The flow completes."""
    trial.create(workers=_FIXED)
    _work(trial)
    trial.end_driver(_GOOD)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


def failure(trial: Trial) -> None:
    """The flow fails."""
    trial.create(workers=_FIXED)
    _work(trial)
    trial.end_driver(_BAD)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


def cancel(trial: Trial) -> None:
    """The user cancels a run that runs."""
    trial.create(workers=_FIXED)
    _run(trial)
    trial.patch_spec(cancel=True)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


def delete_starting(trial: Trial) -> None:
    """The user deletes a run as soon as its cluster resource exists."""
    trial.create(workers=_FIXED)
    trial.wait_cluster()
    trial.delete()
    trial.wait_gone()
    trial.wait_empty()


def delete_running(trial: Trial) -> None:
    """The user deletes a run that runs."""
    trial.create(workers=_FIXED)
    _run(trial)
    trial.delete()
    trial.wait_gone()
    trial.wait_empty()


def recreate(trial: Trial) -> None:
    """The user deletes a run that runs, and creates another one of its name without waiting; that one completes."""
    trial.create(workers=_FIXED)
    _run(trial)
    trial.delete()
    trial.wait_gone()
    trial.create(workers=_FIXED)
    _work(trial)
    trial.end_driver(_GOOD)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


def suspend_resume(trial: Trial) -> None:
    """The user suspends a run that runs, and resumes it when nothing is left; its flow then completes."""
    trial.create(workers=_FIXED)
    _run(trial)
    trial.patch_spec(suspend=True)
    trial.wait_phase("Suspended")
    trial.wait_empty()
    trial.patch_spec(suspend=False)
    _work(trial)
    trial.end_driver(_GOOD)
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


def expiry(trial: Trial) -> None:
    """The record of a completed run is deleted when its time is over."""
    trial.create(workers=_FIXED, ttlSecondsAfterFinished=2)
    _work(trial)
    trial.end_driver(_GOOD)
    trial.wait_gone()
    trial.wait_empty()


def scaling(trial: Trial) -> None:
    """A driver elsewhere needs one worker, five, and one again, and then releases the run's Lease."""
    trial.create(workers={"minimum": 1, "maximum": _MOST}, flow=False, leaseDurationSeconds=600)
    acquired = played.now()

    def renew(workers: int, *retired: str) -> None:
        demand = lease.Demand(workers, retired)
        trial.patch_lease(lease.renewal(_HOLDER, lease.DURATION, played.now(), acquired, demand))

    def scale(workers: int) -> None:
        surplus = trial.worker_names()[workers:] if trial.kind == "Dask" else []
        renew(workers, *surplus)
        if trial.kind == "Ray":
            trial.scale_ray(workers)
        trial.wait_workers(workers)

    renew(1)
    trial.wait_workers(1)
    _run(trial)
    scale(_MOST)
    scale(1)
    trial.patch_lease(lease.release(_GOOD))
    trial.wait_phase("Succeeded", "Failed", "Cancelled")
    trial.wait_empty()


#: By name, in the order in which they are run.
SCENARIOS: dict[str, Callable[[Trial], None]] = {
    "success": success,
    "failure": failure,
    "cancel": cancel,
    "delete-starting": delete_starting,
    "delete-running": delete_running,
    "recreate": recreate,
    "suspend-resume": suspend_resume,
    "expiry": expiry,
    "scaling": scaling,
    **shared.SCENARIOS,
}
KINDS = ("Dask", "Ray")

#: Pods that a life needs: created more often, they were deleted while an owner lived. None where that depends on when
#: the user acts.
_PODS = {
    "Dask": {"Pod driver": 1, "Pod scheduler": 1, "Pod worker": _WORKERS},
    "Ray": {"Pod driver": 1, "Pod head": 1, "Pod worker": _WORKERS},
}


def needed_pods(scenario: str, kind: str) -> dict[str, int]:
    """Return how many pods of each component a scenario needs at most."""
    if scenario in shared.SCENARIOS:
        return shared.needed_pods(scenario, kind)
    pods = dict(_PODS[kind])
    if scenario in ("recreate", "suspend-resume"):
        return {label: 2 * number for label, number in pods.items()}
    if scenario == "scaling":
        del pods["Pod driver"]
        return pods | {"Pod worker": _MOST}
    return pods


#: How each life ends; the record of the others is gone by then.
_ENDS = {
    "success": "Succeeded",
    "failure": "Failed",
    "cancel": "Cancelled",
    "recreate": "Succeeded",
    "suspend-resume": "Succeeded",
    "scaling": "Succeeded",
    "shared-use": "Succeeded",
    "shared-upgrade": "Failed",
}


def expected_end(scenario: str) -> dict[str, str]:
    """Return the phase in which a scenario ends, and how many attempts its driver has had by then."""
    if scenario not in _ENDS:
        return {}
    attempts = {"scaling": "None", "suspend-resume": "2"}.get(scenario, "1")
    return {"phase": _ENDS[scenario], "attempts": attempts}


def is_exact(scenario: str) -> bool:
    """Whether the number of objects does not depend on the moment at which the user acts."""
    return scenario != "delete-starting"

"""The status of a run that has ended: its final state, the driver's outcome, and the deletion of its children."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.final_state import FinalState
from flowcluster_operator.policies.lost_workers import with_lost_workers
from flowcluster_operator.policies.task_counts import final_counts
from flowcluster_operator.policies.worker_seconds import used
from flowcluster_operator.resources import Object
from flowcluster_operator.status.attempts import record_incidents
from flowcluster_operator.status.draft import Draft
from flowcluster_operator.status.run_status import display

#: Message of the condition `ClusterDeleted` of a run that has ended, unless something holds up its deletion.
BEING_DELETED = "what the run had is being deleted"


def finish(draft: Draft, phase: c.Phase, reason: str, message: str) -> None:
    """Write that the run has ended, and its phase once nothing of it is left."""
    draft.phase("Stopping")
    draft.stamp("finishTime")
    draft.status.pop("lostTime", None)
    draft.explain(reason, message)
    draft.status["finalPhase"] = phase
    draft.condition(c.FINISHED, True, reason, message)
    draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, BEING_DELETED)
    draft.summarise("progressing", c.CLEANING_UP, message)
    draft.add_to_story(reason, message, warning=phase == "Failed")


def finish_run(observed: Observed, draft: Draft, over: FinalState) -> None:
    """Write the final state of a run, with its task runs and the outcome of its driver."""
    finish(draft, over.phase, c.SUCCEEDED if over.phase == "Succeeded" else over.reason, over.message)
    close_tasks(observed, draft)
    if over.outcome is not None or draft.status.get("flow"):
        _record_outcome(draft.status.setdefault("flow", {}), over)
    display(draft)


def close_tasks(observed: Observed, draft: Draft) -> None:
    """Write the task runs of a flow that has ended or is stopped."""
    if (tasks := final_counts(observed, draft.status.get("flow") or {})) is not None:
        draft.status.setdefault("flow", {})["tasks"] = tasks
        display(draft)


def _record_outcome(flow: Object, over: FinalState) -> None:
    """Write how the driver ended, and its results."""
    if over.exit_code is not None:
        flow["exitCode"] = over.exit_code
    if (outcome := over.outcome) is None:
        return
    tasks = outcome.tasks
    if tasks.total or "tasks" not in flow:  # a driver that was stopped leaves an outcome without counts
        flow["tasks"] = {"total": tasks.total, "running": 0, "completed": tasks.completed, "failed": tasks.failed}
    results = {"result": outcome.result, "resultUrl": outcome.result_url, "resultOmitted": outcome.result_omitted}
    flow.update({name: text for name, text in results.items() if text is not None})


def close(draft: Draft) -> None:
    """Complete a status of another client that has a phase of an ended run, and no condition `Finished`."""
    phase = draft.status["phase"]
    draft.status["finalPhase"] = phase if phase in c.FINAL_PHASES else "Failed"
    draft.condition(c.FINISHED, True, draft.status.get("reason") or c.DRIVER_LOST, draft.status.get("message") or "")
    draft.stamp("finishTime")


def record_deletion(observed: Observed, draft: Draft, held: str | None) -> None:
    """Write that what the run had is being deleted.

    Args:
        observed: the run.
        draft: its status.
        held: what holds up the deletion; None where nothing does.
    """
    draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, held or BEING_DELETED)
    if draft.status.get("finalPhase") == "Failed":
        _complete_failure(observed, draft)


def _complete_failure(observed: Observed, draft: Draft) -> None:
    """Add what Kubernetes reports of pods shortly after the end of the run, such as why a worker was killed."""
    record_incidents(observed, draft)
    finished = _finished(draft)
    message = with_lost_workers(finished["message"], observed, draft.status)
    draft.condition(c.FINISHED, True, finished["reason"], message)
    draft.explain(finished["reason"], message)


def record_deleted(draft: Draft) -> None:
    """Write the final phase: nothing of the run is left, so no worker is Ready or requested."""
    finished = _finished(draft)
    phase = _final_phase(draft.status, finished["reason"])
    draft.phase(phase)
    draft.condition(c.CLUSTER_DELETED, True, c.NOTHING_LEFT, "nothing of the run is left")
    draft.stamp("clusterDeletedTime")
    cluster = draft.status.get("cluster") or {}
    if workers := cluster.get("workers"):
        cluster |= used(cluster, 0, draft.now)
        workers.update(target=0, requested=0, ready=0)
    display(draft)
    draft.add_to_story(c.NOTHING_LEFT, "verified that nothing of the run is left", has_event=False)
    state = "ready" if phase == "Succeeded" else "failed"
    draft.summarise(state, finished["reason"], finished["message"])


def _finished(draft: Draft) -> Object:
    condition: Object = next(item for item in draft.status["conditions"] if item["type"] == c.FINISHED)
    return condition


def _final_phase(status: Object, reason: str) -> c.Phase:
    """Return the final phase from the status; without one, because another client ended the run, that of the reason."""
    if status["phase"] in c.FINAL_PHASES:
        phase: c.Phase = status["phase"]
        return phase
    return status.get("finalPhase") or c.final_phase(reason)

"""The page on reasons explains every reason of runs and of SharedClusters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from flowcluster_api import conditions
from flowcluster_operator.policies import advice
from tests.support.pod_statuses import CASES
from tests.support.world import ROOT

#: Reasons of a run that gets on, or ends as its user wants.
WELL = {
    "SpecAccepted", "Suspended", "Creating", "Waiting", "ClusterUsable", "FlowRunning", "NoCluster", "Succeeded",
    "Cancelled", "DriverConnected", "AttemptEnded", "CleaningUp", "NothingLeft", "FlowCompleted", "ClusterReleased",
}  # fmt: skip
#: Reasons of SharedClusters only.
OF_SHARED = {
    "IdleShutdown", "Upgrading", "UpgradePending", "Current", "Rebuilt", "KeeperConnected", "FixedSize",
}  # fmt: skip
#: Reasons of Kubernetes: of the condition DisruptionTarget, and those by which the kubelet refuses a pod.
DISRUPTED = {"EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager"}
REFUSED = {"OutOfmemory", "OutOfpods", "NodeAffinity", "NodePorts", "UnexpectedAdmissionError", "TopologyAffinityError"}
#: The driver takes these from the name of an exception's class.
OF_EXCEPTIONS = {"ClusterLost", "ClusterUnreachable"}


def explained(title: str) -> set[str]:
    """Return the reasons in the tables of a section."""
    section = (ROOT / "docs/reference/reasons.md").read_text().partition(f"## {title}")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `") and "REASON" not in line]
    return {reason for row in rows for reason in re.findall(r"`([A-Z]\w+)`", row.split("|")[1])}


def of_operator() -> set[str]:
    """Return the reasons that are constants in `flowcluster_api.conditions`."""
    lines = (ROOT / "sdk/flowcluster_api/conditions.py").read_text().partition("# Reasons that the operator sets.")[2]
    return set(re.findall(r'^[A-Z_]+ = "(\w+)"', lines.partition("CAUSE_CLASSES")[0], re.MULTILINE))


def of_drivers() -> Iterator[str]:
    """Return the reasons of the outcomes that the SDK's code builds. `flowcluster submit` does not run a driver."""
    for path in (ROOT / "sdk/flowcluster").rglob("*.py"):
        if path.name == "submit_command.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from _reasons(node)


def _reasons(call: ast.Call) -> Iterator[str]:
    place = {"StartupError": 0, "outcome": 1}.get(getattr(call.func, "id", ""))
    named = [item.value for item in call.keywords if item.arg == "reason"]
    is_outcome = getattr(call.func, "id", getattr(call.func, "attr", "")) in ("Outcome", "replace")
    found = [*(call.args[place : place + 1] if place is not None else ()), *(named if is_outcome else ())]
    yield from (str(item.value) for item in found if isinstance(item, ast.Constant))


def test_page_explains_every_reason_of_a_run_that_fails_or_waits() -> None:
    ours = {*of_operator(), *of_drivers(), *OF_EXCEPTIONS} - WELL - OF_SHARED
    of_kubernetes = {*conditions.CAUSE_CLASSES, *(case.reason for case in CASES.values()), *DISRUPTED, *REFUSED}

    assert {"FlowFailed", "EntrypointNotFound", "ResultNotStored"} <= ours
    assert (ours | of_kubernetes | {"SchedulingGated"}) ^ explained("Why a run did not start, or failed") == set()


def test_page_explains_every_reason_of_a_run_that_proceeds() -> None:
    assert WELL ^ explained("Reasons of a run that proceeds") == set()


def test_page_explains_every_reason_that_only_shared_clusters_have() -> None:
    assert OF_SHARED - explained("Reasons of SharedClusters") == set()


def test_reasons_by_which_the_kubelet_refuses_a_pod_have_advice() -> None:
    assert [reason for reason in REFUSED if not advice._ADMISSION.fullmatch(reason)] == []

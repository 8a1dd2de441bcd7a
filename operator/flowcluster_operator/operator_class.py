"""Which runs and shared clusters this operator handles, where a Kubernetes cluster has several operators. Pure.

`spec.operatorClass` decides, as `spec.ingressClassName` does for Ingresses: an operator handles the runs of its own
class, and an operator without a class handles those without. Installations of the same class do not share a run either:
the first one that writes the status records its name there, and the others ignore the run. "Run" stands for FlowRuns
and SharedClusters here.
"""

from __future__ import annotations

import dataclasses

from flowcluster_api import names
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings


def is_of_class(run: Object, settings: Settings) -> bool:
    """Return whether a FlowRun or SharedCluster is of the class of this operator."""
    return ((run.get("spec") or {}).get("operatorClass") or "") == settings.operator_class


def handles(run: Object, settings: Settings) -> bool:
    """Return whether this operator handles a FlowRun or SharedCluster.

    That is so if it is of the operator's class, and its status names no other installation.
    """
    recorded = (run.get("status") or {}).get("operator")
    is_ours = not settings.installation or recorded in (None, settings.installation)
    return is_ours and is_of_class(run, settings)


def children_selector(settings: Settings) -> str:
    """Return the label selector of the children of runs of this operator's class."""
    of_class = f"={settings.operator_class}" if settings.operator_class else ""
    return f"{names.LABEL_RUN_UID},{'' if of_class else '!'}{names.LABEL_OPERATOR_CLASS}{of_class}"


def with_installation(plan: Plan, settings: Settings) -> Plan:
    """Return the plan with the name of this installation in the status that it writes, if it writes one.

    If another installation has written a status first, this write fails, because it has an older resource version.
    """
    if plan.status is None or not settings.installation:
        return plan
    return dataclasses.replace(plan, status={**plan.status, "operator": settings.installation})

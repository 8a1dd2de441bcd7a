"""What children of a run inherit: from the FlowRun, from ServiceAccounts, and from the administrator's defaults.

Admission policies can require labels of a team or a cost centre on every object. An inherited value never replaces one
from a template or a builder. All of it holds for a SharedCluster and its children, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, DEPLOYMENT, JOB, RAY_CLUSTER, Object
from flowcluster_operator.run_defaults import RunDefaults
from flowcluster_operator.template_rules import RULES

#: Prefixes of labels and annotations by which tools recognise the objects that they manage. These tools do not manage
#: the children of a run.
_OF_TOOLS = (
    f"{names.GROUP}/", "kubectl.kubernetes.io/", "kueue.x-k8s.io/", "argocd.argoproj.io/", "meta.helm.sh/", "helm.sh/",
    "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "applyset.kubernetes.io/", "config.kubernetes.io/",
    "kopf.zalando.org/", "ray.io/", "dask.org/", "kubernetes.dask.org/", "batch.kubernetes.io/",
)  # fmt: skip
#: Prefixes of annotations that change what a pod can do. A template can have them within the administrator's rules.
#: These rules do not check the metadata of a FlowRun, so children do not inherit such annotations.
_RESTRICTED = tuple(rule.prefix for rule in RULES if rule.prefix)
_OF_TOOLS_EXACTLY = {names.LABEL_MANAGED_BY, "app.kubernetes.io/instance"}
#: KubeRay's Service selects the head by KubeRay's value of this label. A label of the pod template would replace it.
_SELECTED = "app.kubernetes.io/created-by"
#: The ServiceAccount of pods whose templates name none. Drivers and Ray heads then have an account of their own, which
#: has no pull secrets: their pods get those of this account.
DEFAULT_ACCOUNT = "default"


@dataclasses.dataclass(frozen=True)
class Inheritance:
    """What the children of one run inherit.

    Attributes:
        metadata: of its FlowRun.
        spec: of its FlowRun.
        defaults: the administrator's.
        pull_secrets: names of the image pull secrets of ServiceAccounts of its namespace, by their names.
    """

    metadata: Object
    spec: FlowRunSpec
    defaults: RunDefaults
    pull_secrets: Mapping[str, tuple[str, ...]]


def accounts(spec: FlowRunSpec) -> list[str]:
    """Return the ServiceAccounts whose image pull secrets the pods of a run need."""
    return sorted({_account(template) for template in _templates(spec).values()})


def with_inherited(create: Create, from_run: Inheritance) -> Create:
    """Return the child with what it inherits."""
    body = create.body
    metadata = _with_metadata(body["metadata"], from_run)
    if body["kind"] == JOB.kind:
        template = _pod_template(body["spec"]["template"], "driver", from_run)
        # Admission policies check Jobs, too: a Job gets the labels and annotations that the template gives its pods.
        metadata = _of_class(_filled(body["metadata"], template["metadata"]), from_run.spec.operator_class)
        body = {**body, "spec": {**body["spec"], "template": template}}
    elif body["kind"] == DASK_CLUSTER.kind:
        parts = {name: _part(body["spec"][name], name, from_run) for name in ("scheduler", "worker")}
        body = {**body, "spec": {**body["spec"], **parts}}
    elif body["kind"] == DASK_WORKER_GROUP.kind:
        worker = _part(body["spec"]["worker"], "worker", from_run)
        body = {**body, "spec": {**body["spec"], "worker": worker}}
    elif body["kind"] == DEPLOYMENT.kind:
        template = _pod_template(body["spec"]["template"], names.COMPONENT_KEEPER, from_run)
        body = {**body, "spec": {**body["spec"], "template": template}}
    elif body["kind"] == RAY_CLUSTER.kind:
        body = {**body, "spec": _ray(body["spec"], metadata, from_run)}
    return dataclasses.replace(create, body={**body, "metadata": metadata})


def _part(part: Object, name: str, from_run: Inheritance) -> Object:
    template = {"metadata": part["metadata"], "spec": part["spec"]}
    return {**part, **_pod_template(template, "workers" if name == "worker" else name, from_run)}


def _ray(spec: Object, metadata: Object, from_run: Inheritance) -> Object:
    head = spec["headGroupSpec"]
    head = {**head, "template": _without(_pod_template(head["template"], "scheduler", from_run), _SELECTED)}
    if labels := _inherited(from_run, "labels"):
        # KubeRay's default Service has this spec, and no label of its RayCluster.
        headless = {"clusterIP": "None", "publishNotReadyAddresses": True}
        head["headService"] = {"metadata": {"labels": labels}, "spec": headless}
    groups = [
        {**group, "template": _pod_template(group["template"], "workers", from_run)}
        for group in spec["workerGroupSpecs"]
    ]
    more: Object = {}
    if annotations := _inherited(from_run, "annotations"):
        more["headServiceAnnotations"] = annotations
    options = spec.get("autoscalerOptions")
    if options and (given := from_run.defaults.resources.get("autoscaler")):
        more["autoscalerOptions"] = {**options, "resources": {**options["resources"], **given}}
    return {**spec, "headGroupSpec": head, "workerGroupSpecs": groups, **more}


def _without(template: Object, label: str) -> Object:
    labels = {name: value for name, value in template["metadata"]["labels"].items() if name != label}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _pod_template(template: Object, part: str, from_run: Inheritance) -> Object:
    """Return a pod template with what its pods inherit; `part` is driver, scheduler, workers or keeper."""
    defaults, spec = from_run.defaults, template["spec"]
    more: Object = {}
    if secrets := _secrets(spec, part, from_run):
        more["imagePullSecrets"] = secrets
    if defaults.nodeSelector:
        more["nodeSelector"] = {**defaults.nodeSelector, **(spec.get("nodeSelector") or {})}
    if defaults.tolerations:
        more["tolerations"] = [*(spec.get("tolerations") or []), *defaults.tolerations]
    if defaults.priorityClassName and "priorityClassName" not in spec:
        more["priorityClassName"] = defaults.priorityClassName
    containers = [_with_resources(container, defaults) for container in spec["containers"]]
    metadata = _with_metadata(template["metadata"], from_run)
    return {**template, "metadata": metadata, "spec": {**spec, **more, "containers": containers}}


def _secrets(spec: Object, part: str, from_run: Inheritance) -> list[Object]:
    """Return the pod's pull secrets. Kubernetes adds those of the pod's account only to a pod that has none."""
    given: list[Object] = spec.get("imagePullSecrets") or []
    account = _account(_templates(from_run.spec).get(part) or {})
    inherited = [*from_run.defaults.imagePullSecrets, *from_run.pull_secrets.get(account, ())]
    known = {item.get("name") for item in given}
    return [*given, *({"name": name} for name in dict.fromkeys(inherited) if name not in known)]


def _with_resources(container: Object, defaults: RunDefaults) -> Object:
    """Return a container with default amounts for each resource of which it has neither a request nor a limit."""
    amounts_by_field = defaults.resources.get(container["name"])
    if not amounts_by_field:
        return container
    given: Object = container.get("resources") or {}
    named = {name for amounts in given.values() if isinstance(amounts, dict) for name in amounts}
    resources = {**given}
    for field, amounts in amounts_by_field.items():
        added = {name: amount for name, amount in amounts.items() if name not in named}
        resources[field] = {**added, **(given.get(field) or {})}
    return {**container, "resources": resources}


def _with_metadata(metadata: Object, from_run: Inheritance) -> Object:
    found = {field: _inherited(from_run, field) for field in ("labels", "annotations")}
    return _of_class(_filled(metadata, found), from_run.spec.operator_class)


def _of_class(metadata: Object, operator_class: str | None) -> Object:
    """Return metadata with the label of the operator class. Templates cannot change it: the operator watches by it."""
    labels = {name: value for name, value in metadata.get("labels", {}).items() if name != names.LABEL_OPERATOR_CLASS}
    if operator_class is not None:
        labels[names.LABEL_OPERATOR_CLASS] = operator_class
    return {**metadata, "labels": labels} if labels or "labels" in metadata else metadata


def _filled(metadata: Object, more: Object) -> Object:
    """Return metadata with those of the labels and annotations that it does not have yet."""
    filled = {**metadata}
    for field in ("labels", "annotations"):
        if values := {**(more.get(field) or {}), **(metadata.get(field) or {})}:
            filled[field] = values
    return filled


def _inherited(from_run: Inheritance, field: str) -> dict[str, str]:
    defaults: dict[str, str] = getattr(from_run.defaults, field)
    return {**defaults, **dict(_heritable(from_run.metadata.get(field) or {}))}


def _heritable(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the labels or annotations of a FlowRun that its children inherit."""
    for name, value in values.items():
        if not name.startswith((*_OF_TOOLS, *_RESTRICTED)) and name not in _OF_TOOLS_EXACTLY:
            yield name, value


def _templates(spec: FlowRunSpec) -> dict[str, Object]:
    """Return the users' templates of the parts that the run has."""
    cluster = spec.cluster if spec.cluster is not None and spec.cluster.ref is None else None
    found: dict[str, Object] = {"driver": spec.flow.template} if spec.flow is not None else {}
    if cluster is not None:
        found["scheduler"] = cluster.scheduler.template if cluster.scheduler else {}
        found["workers"] = cluster.workers.template if cluster.workers else {}
    return found


def _account(template: Object) -> str:
    pod: Any = template.get("spec")
    named = pod.get("serviceAccountName") if isinstance(pod, dict) else None
    return named if isinstance(named, str) and named else DEFAULT_ACCOUNT

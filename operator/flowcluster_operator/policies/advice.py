"""Advice on a cause, such as Unschedulable, chosen by the message in which Kubernetes reports the cause.

The messages are those of kube-scheduler's filter plugins, of the kubelet (images, volumes, containers), of containerd
and of the API server's admission plugins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_operator.model.pods import Blocked
from flowcluster_operator.policies.spec_fields import SpecFields

#: A pattern, and the advice on messages that match it. The placeholders of the advice are the fields of `SpecFields`,
#: `where`, and the groups of the pattern.
Rule = tuple[str, str]

_OBJECTS: Sequence[Rule] = (
    (r'volume "flowcluster-', "the operator creates it when the run starts: see the operator's log"),
    (
        r'volume "code".*configmap "(?P<name>[^"]+)" not found',
        "create the ConfigMap, or correct spec.flow.source.configMap.name",
    ),
    (r'configmap "(?P<name>[^"]+)" not found', "create ConfigMap {name}, or correct its name in {where}"),
    (r'secret "(?P<name>[^"]+)" not found', "create Secret {name}, or correct its name in {where}"),
    (
        r'persistentvolumeclaim "(?P<name>[^"]+)" (not found|is being deleted)',
        "create PersistentVolumeClaim {name}, or correct its name in {template}",
    ),
    (
        r"unbound immediate PersistentVolumeClaims|unbound PersistentVolumeClaim",
        "no volume fits the claim yet: see kubectl describe pvc, and correct its storage class or {template}",
    ),
    (
        r'serviceaccount "(?P<name>[^"]+)" not found',
        "create ServiceAccount {name}, or correct serviceAccountName in {template}",
    ),
    (r"couldn't find key (?P<key>\S+) in (?P<kind>\w+) (?P<name>\S+)", "add the key, or correct it in {where}"),
    (r"references non-existent (config|secret) key: (?P<key>\S+)", "add key {key}, or correct it in {where}"),
    (r"no PriorityClass with name (?P<name>\S+)", "correct priorityClassName in {template}"),
    (
        r"RuntimeClass.*not found|no runtime for \S+ is configured|unknown runtime handler",
        "correct runtimeClassName in {template}",
    ),
)
_SCHEDULING: Sequence[Rule] = (
    (
        r"didn't match Pod's node affinity|didn't match node selector",
        "correct nodeSelector or affinity in {template}, or label nodes",
    ),
    (r"untolerated taint", "add tolerations in {template}, or nodes without the taint"),
    (r"pod affinity rules|anti-affinity rules", "correct affinity in {template}, or add nodes"),
    (r"topology spread constraints", "correct topologySpreadConstraints in {template}"),
    (
        r"Insufficient (?P<extended>[\w.-]+/[\w.-]*\w)",
        "lower {extended} in {resources}, or add nodes that have it and its device plugin",
    ),
    (r"Insufficient (cpu|memory|ephemeral-storage)", "lower the requests in {resources}, or add nodes"),
    (r"Too many pods", "the nodes hold as many pods as they can: add nodes"),
    (r"free ports", "remove hostPort or hostNetwork from {template}"),
    (r"volume node affinity conflict", "its volume is bound to other nodes: correct the claim in {template}"),
    (r"exceed max volume count", "the nodes have as many volumes attached as they can: add nodes"),
    (r"node\(s\) were unschedulable", "the nodes are cordoned: uncordon them, or add nodes"),
    (r"no nodes available", "the cluster has no nodes: add some"),
    (r"resourceclaim|ResourceClaim", "correct resourceClaims in {template}"),
    (r"scheduling gates", "a controller of this cluster has to remove the gates: ask your administrator"),
)
_PULLING: Sequence[Rule] = (
    (
        r"image pull secrets \((?P<name>[^)]+)\)",
        "create Secret {name} in the run's namespace, or correct imagePullSecrets in {template}",
    ),
    (
        r"toomanyrequests|rate limit|429 Too Many",
        "the registry limits pulls: name a pull secret in imagePullSecrets of {template}, or use a mirror",
    ),
    (
        r"no match for platform|no matching manifest|exec format",
        "the image is not built for the architecture of the node: check {image}, or nodeSelector in {template}",
    ),
    (
        r"unauthorized|authorization|authenticat|access denied|40[13] |forbidden|Forbidden|no basic auth|denied:",
        "check {image}, and name the registry's pull secret in imagePullSecrets of {template}",
    ),
    (
        r"no such host|i/o timeout|deadline exceeded|connection refused|x509|HTTP response to HTTPS|no route",
        "the node does not reach the registry: check {image}, and the nodes' network and certificates",
    ),
    (r"no space left on device", "the node's disk is full: ask your administrator"),
    (r"ErrImageNeverPull", "the node does not have it: check {image}, or imagePullPolicy in {template}"),
    (r"SignatureValidationFailed", "a policy of the nodes refuses its signature: check {image}"),
)
_CONTAINERS: Sequence[Rule] = (
    (r"runAsNonRoot", "give the image a numeric user that is not root, or set securityContext.runAsUser in {template}"),
    (r"no command specified", "the image has no command: check {image}, or set command in {where}"),
    (
        r"exec format error",
        "the image is not built for the architecture of the node: check {image}, or nodeSelector in {template}",
    ),
    (
        r"executable file not found|exec: .*no such file or directory|exit code 127\b",
        "does the image have {program} installed? Check {image}, and command and args in {where}",
    ),
    (r"permission denied|exit code 126\b", "a file is not allowed to the container's user: check {where}"),
    (r"[Rr]ead-only file system", "mount an emptyDir where it writes, in {where}"),
    (r"subPath", "correct volumeMounts in {where}"),
)
_VOLUMES: Sequence[Rule] = (
    (
        r"Multi-Attach|already used by pod",
        "another node uses the volume: give it access mode ReadWriteMany, or keep its pods on one node by {template}",
    ),
    (r"", "check volumes in {template}"),
)
_REFUSED: Sequence[Rule] = (
    (
        r"must specify (limits|requests)",
        "the namespace's quota requires them: give each of these containers all of them, in {resources} and {template}",
    ),
    (r"exceeded quota", "lower {resources}, delete other pods, or have the namespace's quota raised"),
    (
        r"(maximum|minimum) .* usage per|max limit to request ratio",
        "the namespace has a LimitRange: correct {resources}",
    ),
    (r"violates PodSecurity", "correct securityContext, volumes or ports in {template}"),
    (
        r"admission webhook .* denied|ValidatingAdmissionPolicy .* denied",
        "a policy of this cluster forbids it: change {template} as it requires, or ask your administrator",
    ),
    (
        r"unknown field",
        "the operator that serves it is too old for this version of flowcluster: ask your administrator to upgrade it",
    ),
    (r"failed calling webhook", "an admission webhook of this cluster does not answer: ask your administrator"),
)
#: Rules for refused objects that no field of the spec changes.
_REFUSED_OBJECT: Sequence[Rule] = (
    (r"exceeded quota", "delete other objects of this kind, or ask your administrator to raise the namespace's quota"),
    (
        r"admission webhook .* denied|ValidatingAdmissionPolicy .* denied",
        "a policy of this cluster forbids it: ask your administrator",
    ),
    (r"failed calling webhook", "an admission webhook of this cluster does not answer: ask your administrator"),
)
_EVICTED: Sequence[Rule] = (
    (
        r"ephemeral|emptyDir|[Dd]isk|inodes|nodefs|imagefs",
        "write less to disk, or raise requests and limits of ephemeral-storage in {resources}",
    ),
    (r"memory", "raise requests.memory in {resources} to what it uses, so that its node has room for it"),
)

_PULL = frozenset(reason for reason, kind in c.CAUSE_CLASSES.items() if kind == "Image")
_NETWORK = frozenset({"FailedCreatePodSandBox", "NetworkNotReady", "FailedPodSandBoxStatus"})
_MOUNT = frozenset(reason for reason, kind in c.CAUSE_CLASSES.items() if kind == "Volumes")
_CRASH = frozenset(reason for reason, kind in c.CAUSE_CLASSES.items() if kind == "Container")
#: Reasons for which the kubelet refuses a pod that kube-scheduler has placed: the node's resources were used up
#: meanwhile, or changed.
_ADMISSION = re.compile(r"OutOf\w+|NodeAffinity|NodePorts|UnexpectedAdmissionError|TopologyAffinityError")


class _Place(NamedTuple):
    fields: SpecFields
    container: str

    def values(self) -> dict[str, str]:
        where = f"container {self.container} of {self.fields.template}" if self.container else self.fields.template
        return {**self.fields._asdict(), "where": where}


def advice(blocked: Blocked, fields: SpecFields, component: str, pod: str) -> str:
    """Return what to do about the cause that blocks a pod: the field to change, or the person to ask.

    Args:
        blocked: the cause.
        fields: of the part that the pod belongs to.
        component: name of the main container.
        pod: name of the pod.
    """
    is_main = blocked.container in ("", component)
    found = _found(blocked, _Place(fields if is_main else _of_sidecar(fields, blocked.container), blocked.container))
    return "; ".join(found) if found else f"see kubectl describe pod {pod}"


def crash_advice(text: str, fields: SpecFields) -> str | None:
    """Return what to do about a main container that ended with this message; None where no rule matches."""
    found = _first(text, _CONTAINERS, _Place(fields, ""))
    return found[0] if found else None


def refusal_advice(message: str, fields: SpecFields | None) -> str | None:
    """Return what to do about an object that the API server refused; None where no rule matches.

    Args:
        message: of the API server.
        fields: from which the object is built; None for an object without fields of the spec.
    """
    if fields is None:
        return next((words for pattern, words in _REFUSED_OBJECT if re.search(pattern, message)), None)
    found = _first(message, [*_OBJECTS, *_REFUSED], _Place(fields, ""))
    return found[0] if found else None


def _of_sidecar(fields: SpecFields, container: str) -> SpecFields:
    """Return the fields of a container that is not the main one."""
    where = f"container {container} of {fields.template}"
    return fields._replace(image="its image", resources=f"resources of {where}", program="its program")


def _found(blocked: Blocked, place: _Place) -> list[str]:
    reason, message, _ = blocked
    text = f"{reason}: {message}"
    if reason in _PULL:
        return _first(text, _PULLING, place) or [f"check {place.fields.image}"]
    if reason in ("Unschedulable", "SchedulingGated"):
        default = ["lower the requests in {resources}, or add nodes".format(**place.values())]
        return _first(text, _OBJECTS, place) or _all(text, _SCHEDULING, place) or default
    if reason == c.OUT_OF_MEMORY:
        return [f"raise limits.memory in {place.fields.resources}"]
    if reason == "Evicted":
        return _first(text, _EVICTED, place)
    if reason in _NETWORK:
        return _first(text, _OBJECTS, place) or ["a fault of the node or its network: ask your administrator"]
    if reason in _MOUNT:
        return _first(text, [*_OBJECTS, *_VOLUMES], place)
    if reason in _CRASH:
        return _first(text, [*_OBJECTS, *_CONTAINERS], place) or ["check {image}, and {where}".format(**place.values())]
    if _ADMISSION.fullmatch(reason):
        return ["its node has no room for it any more: another pod takes its place, or add nodes"]
    return _first(text, [*_OBJECTS, *_REFUSED], place)


def _first(text: str, rules: Sequence[Rule], place: _Place) -> list[str]:
    return _all(text, rules, place)[:1]


def _all(text: str, rules: Sequence[Rule], place: _Place) -> list[str]:
    found = ((re.search(pattern, text), words) for pattern, words in rules)
    return [words.format(**{**place.values(), **match.groupdict()}) for match, words in found if match]

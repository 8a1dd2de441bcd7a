"""What pod templates of users can contain: one table of rules, and the settings by which an administrator widens them.

The operator checks templates by this table (`flowcluster_operator.policies.templates`). `make generate` writes the same
table in CEL for the chart's ValidatingAdmissionPolicy (`tools.admission`). The rules cover the Pod Security profile
``baseline`` and what a tenant could use to gain rights or to leave its namespace.
"""

from __future__ import annotations

import dataclasses
import json
from typing import NamedTuple

#: The templates of a FlowRun's spec, by the part of the run that they shape.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "flow": ("flow", "template"),
    "workers": ("cluster", "workers", "template"),
    "scheduler": ("cluster", "scheduler", "template"),
}

#: sysctls that Pod Security `baseline` allows.
_SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_VOLUMES = (
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


@dataclasses.dataclass(frozen=True)
class TemplatePolicy:
    """What an administrator allows in templates: the chart's values `templates`. The defaults are the chart's."""

    #: ServiceAccounts that a template can name.
    service_accounts: tuple[str, ...] = ()
    #: Kinds of volumes, as the fields of a volume are called.
    volumes: tuple[str, ...] = _VOLUMES
    #: Capabilities that a container can add.
    capabilities: tuple[str, ...] = ()
    #: RuntimeClasses that a template can name.
    runtime_classes: tuple[str, ...] = ()
    #: sysctls that a template can set.
    sysctls: tuple[str, ...] = _SAFE_SYSCTLS
    #: hostNetwork, hostPID and hostIPC.
    host_namespaces: bool = False
    #: Ports of the node, and probes that lead the kubelet to another host.
    host_ports: bool = False
    #: Privileged containers, and Windows host processes.
    privileged: bool = False
    #: allowPrivilegeEscalation.
    privilege_escalation: bool = False
    #: nodeName, which bypasses the scheduler and taints.
    node_name: bool = False
    #: Tokens of ServiceAccounts in pods that have none otherwise.
    service_account_tokens: bool = False
    #: One process namespace for all containers of a pod.
    share_process_namespace: bool = False
    #: No seccomp or AppArmor profile, another SELinux type, an unmasked /proc.
    unconfined: bool = False

    @staticmethod
    def from_json(text: str) -> TemplatePolicy:
        """Parse the chart's values `templates`.

        Raises:
            ValueError: a value is invalid; the message names it.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        fields = {camel_case(field.name): field for field in dataclasses.fields(TemplatePolicy)}
        given: dict[str, tuple[str, ...] | bool] = {}
        for name, value in data.items():
            if name not in fields:
                raise ValueError(f"there is no value {name}")
            field = fields[name]
            if isinstance(field.default, bool):
                if not isinstance(value, bool):
                    raise ValueError(f"{name} must be true or false")
                given[field.name] = value
            elif isinstance(value, list) and all(isinstance(item, str) for item in value):
                given[field.name] = tuple(value)
            else:
                raise ValueError(f"{name} must be a list of strings")
        return TemplatePolicy(**given)  # type: ignore[arg-type]


#: Prefix of a path that leads into every container of a pod.
CONTAINERS = "containers[]"
#: The lists of a pod's containers.
CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


class Rule(NamedTuple):
    """What some fields of a PodTemplateSpec can hold. A field that is absent passes every rule.

    Attributes:
        paths: the fields: names separated by dots, ``[]`` after the name of a list for each of its items. A path that
            begins with `CONTAINERS` is for every container of the pod. Empty: the template itself.
        values: what the fields can hold: values of one type.
        listed: field of `TemplatePolicy` with more such values.
        unless: field of `TemplatePolicy` that turns the rule off.
        null: whether null passes. Null removes the operator's own value, so it does not pass where that value protects.
        keys: whether the rule is for the keys of the fields, not for their values.
        prefix: if not empty, the rule is for the values of those keys of the fields that begin with it.
        parts: parts of the run whose templates the rule is for.
    """

    paths: tuple[str, ...]
    values: tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] = ()
    listed: str = ""
    unless: str = ""
    null: bool = True
    keys: bool = False
    prefix: str = ""
    parts: tuple[str, ...] = tuple(TEMPLATES)

    @property
    def setting(self) -> str:
        """The chart's value that widens the rule; empty where none does."""
        return camel_case(self.listed or self.unless)

    @property
    def is_presence(self) -> bool:
        """Whether the rule requires only that the fields are not null."""
        return not (self.null or self.values or self.listed)


def camel_case(name: str) -> str:
    """Return the name of a setting in the chart's values."""
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


def message(part: str, rule: Rule, path: str | None = None) -> str:
    """Return the message that refuses a template.

    Args:
        part: of the run.
        rule: that it breaks.
        path: of the field that breaks it; by default all paths of the rule are named.
    """
    template = ".".join(("spec", *TEMPLATES[part]))
    paths = rule.paths if path is None else (path,)
    if len(paths) > _NAMED:
        paths = (*paths[:_NAMED], "others")
    places = [f"spec.{each}" if each.startswith(CONTAINERS) else each for each in paths]
    field = ".".join(filter(None, (template, " or ".join(places))))
    if rule.is_presence:
        return f"{field} must not be null: that removes what protects the container"
    chart = f"the chart's value templates.{rule.setting}" if rule.setting else ""
    if not rule.values:
        return f"{field} is allowed only by {chart}"
    allowed = ", ".join(json.dumps(value) for value in rule.values)
    what = "a key" if rule.keys else f"a value of {rule.prefix}*" if rule.prefix else "a value"
    return f"{field} has {what} that is not allowed; allowed: {allowed}" + (f", and more by {chart}" if chart else "")


#: Paths of a rule that a message names at most.
_NAMED = 3
_HANDLERS = [f"{CONTAINERS}.{probe}" for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
_HANDLERS += [f"{CONTAINERS}.lifecycle.{hook}" for hook in ("postStart", "preStop")]


def _both(field: str) -> tuple[str, str]:
    """Return the paths of a field of the securityContext, of a pod and of its containers."""
    return f"spec.securityContext.{field}", f"{CONTAINERS}.securityContext.{field}"


RULES: tuple[Rule, ...] = (
    Rule(("",), ("metadata", "spec"), keys=True),
    Rule(("metadata",), ("labels", "annotations", "name", "creationTimestamp"), keys=True),
    # Null names an account, too: `default`.
    Rule(("spec.serviceAccountName", "spec.serviceAccount"), listed="service_accounts", null=False),
    Rule(
        ("spec.automountServiceAccountToken",),
        (False,),
        unless="service_account_tokens",
        null=False,
        parts=("workers", "scheduler"),
    ),
    Rule(("spec.hostNetwork", "spec.hostPID", "spec.hostIPC"), (False,), unless="host_namespaces"),
    # Another container of the pod may have a token.
    Rule(("spec.shareProcessNamespace",), (False,), unless="share_process_namespace"),
    Rule(("spec.nodeName",), ("",), unless="node_name"),
    Rule(("spec.runtimeClassName",), listed="runtime_classes"),
    Rule(("spec.volumes[]",), ("name",), listed="volumes", keys=True),
    Rule(
        ("spec.volumes[].projected.sources[]",),
        ("clusterTrustBundle", "configMap", "downwardAPI", "secret"),
        unless="service_account_tokens",
        keys=True,
    ),
    Rule(("spec.securityContext.sysctls[].name",), listed="sysctls"),
    Rule((f"{CONTAINERS}.securityContext",), null=False),
    Rule((f"{CONTAINERS}.securityContext.privileged",), (False,), unless="privileged"),
    Rule(_both("windowsOptions.hostProcess"), (False,), unless="privileged"),
    Rule(
        (f"{CONTAINERS}.securityContext.allowPrivilegeEscalation",),
        (False,),
        unless="privilege_escalation",
        null=False,
    ),
    Rule((f"{CONTAINERS}.securityContext.capabilities.add[]",), listed="capabilities"),
    Rule((f"{CONTAINERS}.securityContext.procMount",), ("Default",), unless="unconfined"),
    Rule(
        (*_both("seccompProfile.type"), *_both("appArmorProfile.type")),
        ("RuntimeDefault", "Localhost"),
        unless="unconfined",
    ),
    Rule(
        ("metadata.annotations",),
        ("runtime/default",),
        unless="unconfined",
        prefix="container.apparmor.security.beta.kubernetes.io/",
    ),
    Rule(
        _both("seLinuxOptions.type"),
        ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"),
        unless="unconfined",
    ),
    Rule((*_both("seLinuxOptions.user"), *_both("seLinuxOptions.role")), ("",), unless="unconfined"),
    Rule((f"{CONTAINERS}.ports[].hostPort",), (0,), unless="host_ports"),
    Rule(
        tuple(f"{handler}.{action}.host" for handler in _HANDLERS for action in ("httpGet", "tcpSocket")),
        ("",),
        unless="host_ports",
    ),
)

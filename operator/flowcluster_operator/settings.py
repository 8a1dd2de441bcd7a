"""The administrator's settings, read once from the environment when the operator starts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from flowcluster_api import __version__
from flowcluster_api.v1alpha1.spec import OPERATOR_CLASS
from flowcluster_operator.run_defaults import DefaultsError, run_defaults
from flowcluster_operator.template_rules import TemplatePolicy

_DEFAULT_POLICY = TemplatePolicy()
PREFIX = "FLOWCLUSTER_"


class SettingsError(ValueError):
    """A setting has a value that the operator cannot use; the message names the variable."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The operator's settings. The variable of each is its name in capitals, prefixed `FLOWCLUSTER_`."""

    #: Image of drivers, schedulers and workers where a FlowRun names none.
    default_image: str = f"docker.io/flowcluster/runtime:{__version__}"
    #: imagePullPolicy of the pods of runs; empty means Kubernetes' own rule.
    image_pull_policy: str = ""
    #: Namespace to serve; empty means all.
    namespace: str = ""
    #: Class of the runs to handle; empty means those without a class.
    operator_class: str = ""
    #: Name of this installation, as NAMESPACE/NAME; empty means that it shares runs with other installations.
    installation: str = ""
    #: Workers that one run, or one worker group of a shared cluster, can have at most.
    max_workers: int = 100
    #: Workers that a child run can have at most, where its parent has no cluster of its own that limits them.
    child_max_workers: int = 10
    #: Child runs that one run can have at the same time.
    child_runs: int = 20
    #: What templates can contain, as JSON: the chart's values `templates`.
    template_policy: TemplatePolicy = _DEFAULT_POLICY
    #: Whether only pods of a run reach its pods: ``true`` or ``false``.
    network_policies: bool = True
    #: DNS domain of the Kubernetes cluster.
    cluster_domain: str = "cluster.local"
    #: Seconds that a driver has to end after SIGTERM.
    driver_grace_seconds: int = 10
    #: Seconds that scheduler and workers have to end after SIGTERM. The time is short: a worker whose scheduler ends at
    #: the same time uses all of it, and has nothing to save.
    cluster_grace_seconds: int = 3
    #: Seconds after which a child that the finalizer of another party holds counts as stuck.
    stuck_seconds: int = 30
    #: Seconds between two full lists that correct what the watches missed.
    resync_seconds: int = 60
    #: Defaults for the pods of all runs, as JSON: see `RunDefaults`. A FlowRun overrides them.
    run_defaults: str = ""
    #: Runs that are reconciled at the same time.
    concurrency: int = 16
    #: Address of the liveness endpoint; empty means that there is none.
    liveness_endpoint: str = ""

    def __post_init__(self) -> None:
        try:
            run_defaults(self.run_defaults)
        except DefaultsError as error:
            raise SettingsError(f"{PREFIX}RUN_DEFAULTS: {error}") from None
        if self.operator_class and not re.fullmatch(rf"(?=.{{1,63}}$){OPERATOR_CLASS}", self.operator_class):
            raise SettingsError(f"{PREFIX}OPERATOR_CLASS must be a DNS label, not {self.operator_class!r}")

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: a value cannot be used; the message names the variable.
        """
        values: dict[str, str | int | TemplatePolicy] = {}
        for field in dataclasses.fields(Settings):
            name = PREFIX + field.name.upper()
            text = environment.get(name)
            if text is None:
                continue
            values[field.name] = _value(name, text, field.default)
        return Settings(**values)  # type: ignore[arg-type]


def _value(name: str, text: str, default: object) -> str | int | TemplatePolicy:
    if isinstance(default, TemplatePolicy):
        try:
            return TemplatePolicy.from_json(text)
        except ValueError as error:
            raise SettingsError(f"{name} must be the chart's values `templates` as JSON: {error}") from error
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise SettingsError(f"{name} must be true or false, not {text!r}")
        return text == "true"
    return _whole_number(name, text) if isinstance(default, int) else text


def _whole_number(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise SettingsError(f"{name} must be a whole number of at least 1, not {text!r}")
    return number

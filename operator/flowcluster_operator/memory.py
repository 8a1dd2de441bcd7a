"""What this process alone knows of runs: since when something has been as it is, and what it made and cannot read."""

from __future__ import annotations

from flowcluster_operator.model import Key
from flowcluster_operator.reconcile.accounts import PullSecrets
from flowcluster_operator.reconcile.events import EventLooks
from flowcluster_operator.settling import Settling
from flowcluster_operator.silences import Silences


class Memory:
    """Nothing is lost with it but time: a new process begins to count anew, and tries again to make what is there.

    Attributes:
        silences: of drivers.
        settling: of numbers of workers.
        events: Events of what runs wait for.
        keys: name of the Secret with a run's keys, once it is there.
        pull_secrets: names of image pull secrets, by account, for each run.
        parameters: UID of a run's Lease, and name of the ConfigMap that this process created for that Lease.
    """

    def __init__(self) -> None:
        self.silences, self.settling = Silences(), Settling()
        self.events = EventLooks()
        self.keys: dict[Key, str] = {}
        self.pull_secrets: dict[Key, PullSecrets] = {}
        self.parameters: dict[Key, tuple[str, str]] = {}

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self.silences.forget(key)
        self.settling.forget(key)
        self.events.forget(key)
        self.keys.pop(key, None)
        self.parameters.pop(key, None)
        self.pull_secrets.pop(key, None)

"""What this process alone knows of runs: since when something has been as it is."""

from __future__ import annotations

from flowcluster_operator.model import Key
from flowcluster_operator.settling import Settling
from flowcluster_operator.silences import Silences


class Memory:
    """Both clocks. Nothing is lost with them but time: a new process begins to count anew."""

    def __init__(self) -> None:
        self.silences, self.settling = Silences(), Settling()

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self.silences.forget(key)
        self.settling.forget(key)

"""What a process learns about the loss of a cluster that it asked for."""

from __future__ import annotations

import threading
from typing import Any, cast

from flowcluster.clusters.claim import Claim


class DeletedRuns:
    """FlowRuns none of which exists any more. The answer takes until another thread has queried, too, or waits."""

    def __init__(self, claim: Claim) -> None:
        self.losses: list[Any] = []
        self.other = threading.Thread(target=lambda: self.losses.append(claim.find_loss()))

    def find(self, _name: str, _uid: str) -> None:
        self.other.start()
        self.other.join(0.1)


def test_query_for_a_loss_waits_for_the_answer_to_another_one() -> None:
    """Threads that notice the same loss name the same cause."""
    claim = Claim({"spec": {"cluster": {}}}, cast("Any", None), adapts=False)
    claim._flow_runs = runs = cast("Any", DeletedRuns(claim))

    loss = claim.find_loss()
    runs.other.join(10)

    assert loss is not None
    assert runs.losses == [loss]

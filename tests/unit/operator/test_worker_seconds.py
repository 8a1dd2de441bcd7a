"""Seconds of workers that a run has used. Values in, values out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flowcluster_operator.policies.worker_seconds import used
from tests.support.makers import NOW


def test_seconds_of_workers_add_up() -> None:
    """One worker for ten seconds, three for five, none for a while and one again for four make 29."""
    known: dict[str, Any] = {"workers": {"ready": 0}}
    for seconds, ready in ((0, 1), (10, 3), (15, 0), (100, 1), (104, 0)):
        known |= used(known, ready, NOW + dt.timedelta(seconds=seconds))
        known["workers"] = {"ready": ready}

    assert known["workerSeconds"] == 29


def test_fractions_of_a_second_are_not_lost() -> None:
    """Ten changes within three seconds come to what three seconds of one worker are."""
    known: dict[str, Any] = {"workers": {"ready": 0}}
    for number in range(11):
        ready = 1 + number % 2
        known |= used(known, ready, NOW + dt.timedelta(seconds=0.3 * number))
        known["workers"] = {"ready": ready}

    assert 3 <= known["workerSeconds"] <= 6


def test_status_is_not_written_while_the_number_of_workers_stays() -> None:
    assert used({"workers": {"ready": 2}, "workerSeconds": 7}, 2, NOW) == {}

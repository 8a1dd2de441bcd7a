"""The messages of the scheduler's plugin, as it sends them."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.runners.dask import messages
from flowcluster.runners.dask.messages import (
    Erred,
    Finished,
    InputsLost,
    NoSuchWorker,
    PluginMessage,
    RunOver,
    ShareChanged,
    Started,
    WorkerLost,
)

#: Other versions of flowcluster that share a scheduler send and read these lists.
LISTS: list[tuple[PluginMessage, list[Any]]] = [
    (Started("key", "tcp://w:1"), ["started", "key", "tcp://w:1"]),
    (
        Finished("key", "tcp://w:1", 1.0, 2.0, 28, [False, b"data", None]),
        ["finished", "key", "tcp://w:1", 1.0, 2.0, 28, [False, b"data", None]],
    ),
    (Finished("key", "tcp://w:1", 0.0, 0.0, 28, None), ["finished", "key", "tcp://w:1", 0.0, 0.0, 28, None]),
    (Erred("key", "other", ValueError), ["erred", "key", "other", ValueError]),
    (WorkerLost("key", "tcp://w:1"), ["worker lost", "key", "tcp://w:1"]),
    (InputsLost("key", "tcp://w:1"), ["inputs lost", "key", "tcp://w:1"]),
    (NoSuchWorker("key", {"GPU": 1}, {"tcp://w:1": {}}), ["no such worker", "key", {"GPU": 1}, {"tcp://w:1": {}}]),
    (RunOver(), ["over", ""]),
    (ShareChanged(3, None), ["share", "", 3, None]),
]


@pytest.mark.parametrize(("message", "data"), LISTS, ids=lambda value: value[0] if type(value) is list else "")
def test_message_is_sent_as_its_kind_its_key_and_its_fields(message: PluginMessage, data: list[Any]) -> None:
    read = messages.from_list(data)

    assert messages.to_list(message) == data
    assert type(messages.to_list(message)) is list
    assert (type(read), read) == (type(message), message)


def test_every_kind_of_message_is_tested() -> None:
    assert {data[0] for _, data in LISTS} == set(messages._KINDS.values())

"""Properties of all addresses, bounds and messages of clusters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcluster.agent.protocol import (
    Adapt,
    AgentJob,
    Forward,
    Forwarding,
    Lost,
    Message,
    Release,
    Released,
    Trouble,
    read,
    write,
)
from flowcluster.clusters import address
from flowcluster.clusters.adapt import UNLIMITED, parse_adapt, parse_bounds
from flowcluster.kube.choice import Choice

T = TypeVar("T")

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.one_of(NAMES, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
PORTS = st.integers(1, 65535)


def value_or_error(call: Callable[[], T]) -> T | ValueError:
    """Return what `call` returns, or the ValueError that it raises."""
    try:
        return call()
    except ValueError as error:
        return error


def written(host: str) -> str:
    """Return a host as an address contains it."""
    return f"[{host}]" if ":" in host else host


class TestAddresses:
    """`split` and `split_ray`."""

    @given(HOSTS, PORTS, st.sampled_from(["tcp", "tls", "ucx"]))
    def test_address_with_a_scheme_is_split(self, host: str, port: int, scheme: str) -> None:
        assert address.split(f"{scheme}://{written(host)}:{port}") == (host, port)
        assert address.split(f"{scheme}://{written(host)}") == (host, 8786)

    @given(HOSTS, PORTS)
    def test_address_without_a_scheme_is_a_tcp_address(self, host: str, port: int) -> None:
        assert address.split(f"{written(host)}:{port}") == (host, port)
        assert address.split_ray(f"{written(host)}:{port}") == (host, port)
        assert address.split_ray(f"ray://{written(host)}:{port}") == (host, port)

    @given(st.text())
    @example("tcp://[")
    @example("tcp://[name]")
    @example("tcp://host:99999")
    @example("tcp://a\u2100b")
    def test_text_is_an_address_or_is_refused_with_an_example(self, text: str) -> None:
        for split, shown in ((address.split, "tcp://HOST:8786"), (address.split_ray, "ray://HOST:10001")):
            target = value_or_error(functools.partial(split, text))
            if isinstance(target, ValueError):
                assert shown in str(target)
            else:
                assert target is None or (target[0] and 0 < target[1] < 65536)


NUMBERS = st.one_of(st.integers(-2, 2 * UNLIMITED), st.floats())
WORDS = {
    **{f"{bound}{unit}": NUMBERS for bound in ("minimum", "maximum") for unit in ("", "_cores", "_memory")},
    **dict.fromkeys(["interval", "target_duration", "up_delay", "down_delay", "idle", "wait_count"], NUMBERS),
}
WORKERS = st.fixed_dictionaries(
    {}, optional={"threads": st.integers(1, 64), "resources": st.just({"limits": {"memory": "4Gi"}})}
)


class TestBounds:
    """The words of ``adapt``."""

    @given(WORKERS, st.fixed_dictionaries({}, optional=WORDS))
    @example({}, {"minimum": math.nan})
    @example({}, {"minimum": -math.inf})
    @example({}, {"minimum_cores": math.inf})
    @example({}, {"minimum_cores": math.nan})
    @example({}, {"interval": math.nan})
    @example({"resources": {"limits": {"memory": "0"}}}, {"maximum_memory": "1GiB"})
    @example({"resources": {"limits": {"memory": "4Gi"}}}, {"maximum_memory": math.inf})
    @example({}, {"minimum_cores": 20_000})
    def test_words_are_in_order_or_one_of_them_is_named(self, worker: dict[str, Any], given: dict[str, Any]) -> None:
        found = value_or_error(lambda: parse_adapt("tcp://s:1", worker, given))
        if isinstance(found, ValueError):
            assert "is greater than maximum" in str(found) or any(name in str(found) for name in given)
        else:
            assert 0 <= found.minimum <= found.maximum <= UNLIMITED
            assert found.agent.interval > 0
            assert found.agent.target_duration > 0
            assert min(found.agent.up_delay, found.agent.down_delay, found.agent.idle_seconds) >= 0

    @given(st.integers(1, 64), st.integers(0, 9_900), st.integers(0, 9_900))
    def test_cores_are_converted_to_the_workers_that_have_them(self, threads: int, least: int, most: int) -> None:
        least, most = min(least, most), max(least, most) + threads
        low, high, left = parse_bounds(
            {"threads": threads}, {"minimum_cores": least, "maximum_cores": most, "other": 1}
        )

        assert (low - 1) * threads < least <= low * threads
        assert high * threads <= most < (high + 1) * threads
        assert left == {"other": 1}

    @given(st.integers(1, 64), st.integers(0, 64), st.integers(0, 64))
    def test_memory_is_converted_to_the_workers_that_have_it(self, size: int, least: int, more: int) -> None:
        worker = {"resources": {"limits": {"memory": f"{size}Gi"}}}
        given = {"minimum_memory": f"{least} GiB", "maximum_memory": f"{least + more + size} GiB"}
        low, high, _ = parse_bounds(worker, given)

        assert (low - 1) * size < least <= low * size
        assert high * size <= least + more + size < (high + 1) * size

    @given(st.integers(1, 2**30))
    def test_memory_limit_is_read_as_kubernetes_reads_it(self, size: int) -> None:
        for suffix, factor in (("", 1), ("k", 10**3), ("M", 10**6), ("Ki", 2**10), ("Mi", 2**20), ("000m", 1)):
            worker = {"resources": {"limits": {"memory": f"{size}{suffix}"}}}
            low, high, _ = parse_bounds(
                worker, {"minimum_memory": 3 * size * factor, "maximum_memory": 7 * size * factor}
            )

            assert (low, high) == (3, 7)

    @given(st.integers(0, UNLIMITED), st.integers(0, UNLIMITED))
    def test_numbers_of_workers_are_used_as_given(self, one: int, other: int) -> None:
        least, most = min(one, other), max(one, other)

        assert parse_bounds({}, {"minimum": least, "maximum": most}) == (least, most, {})
        assert parse_bounds({}, {"minimum": float(least), "maximum": None}) == (least, UNLIMITED, {})
        if least < most:
            with pytest.raises(ValueError, match="greater than maximum"):
                parse_bounds({}, {"minimum": most, "maximum": least})


TEXTS = st.text()
PORT_MAPS = st.dictionaries(PORTS, st.integers(0, 65535))
SECONDS = st.floats(0, allow_nan=False)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Forward, TEXTS, PORT_MAPS),
    st.builds(Adapt, TEXTS, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS),
    st.builds(Release, TEXTS),
    st.builds(Forwarding, PORT_MAPS, st.none() | TEXTS),
    st.builds(Lost, TEXTS, TEXTS),
    st.builds(Trouble, TEXTS),
    st.builds(Released, st.none() | TEXTS),
)
JOBS = st.builds(
    AgentJob,
    choice=st.builds(Choice, st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS),
    run=TEXTS,
    uid=TEXTS,
    lease=TEXTS,
    duration=st.integers(1),
    holder=TEXTS,
    pid=st.integers(1),
    adapts=st.booleans(),
    ends=st.booleans(),
)


class TestMessages:
    """Messages that the driver and its agent write."""

    @given(MESSAGES)
    def test_message_is_one_line_and_is_read_back(self, message: Message) -> None:
        line = write(message)

        assert line.splitlines() == [line.removesuffix("\n")]
        assert read(line) == message

    @given(JOBS)
    def test_job_is_read_back(self, job: AgentJob) -> None:
        assert AgentJob.from_json(job.to_json()) == job

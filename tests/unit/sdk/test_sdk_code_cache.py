"""The cache of the code of tasks on workers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flowcluster.runners import code_cache
from flowcluster.runners.code_cache import CodeCache


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys for which a cache of 100 bytes and 3 values has made values."""
    monkeypatch.setattr(code_cache, "LIMIT", 100)
    monkeypatch.setattr(code_cache, "MOST", 3)
    return []


def cache_of(made: list[str], size: Callable[[str], int]) -> CodeCache[str, str]:
    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    return CodeCache(make, lambda key, value: size(key))


def test_values_are_kept_up_to_the_limit_of_bytes(made: list[str]) -> None:
    cache = cache_of(made, lambda key: 40)

    assert [cache(key) for key in "abab"] == ["A", "B", "A", "B"]
    assert made == ["a", "b"]
    assert [cache(key) for key in "cbca"] == ["C", "B", "C", "A"]
    assert made == ["a", "b", "c", "a"]


def test_number_of_small_values_is_limited(made: list[str]) -> None:
    cache = cache_of(made, lambda key: 0)
    for key in "abcadb":
        cache(key)

    assert made == ["a", "b", "c", "d", "b"]


def test_newest_value_is_kept_when_it_exceeds_the_limit(made: list[str]) -> None:
    cache = cache_of(made, lambda key: 200)
    for key in "aabba":
        cache(key)

    assert made == ["a", "b", "a"]


def test_cleared_values_are_made_again(made: list[str]) -> None:
    cache = cache_of(made, lambda key: 60)
    cache("a")
    cache.clear()
    for key in "aab":
        cache(key)

    assert made == ["a", "a", "b"]


def test_value_that_could_not_be_made_is_tried_again(made: list[str]) -> None:
    def make(key: str) -> str:
        made.append(key)
        raise ValueError(key)

    cache = CodeCache(make, lambda key, value: 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            cache("a")

    assert made == ["a", "a"]


def test_threads_that_make_one_value_get_the_same_one() -> None:
    both = threading.Barrier(2)

    def make(key: str) -> object:
        both.wait(30)
        return object()

    cache = CodeCache(make, lambda key, value: 1)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(cache("a"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(found) == 2
    assert found[0] is found[1]

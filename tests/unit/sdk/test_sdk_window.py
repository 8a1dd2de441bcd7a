"""The limit of task runs in flight of a runner, while the limit changes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from flowcluster.engine.in_flight import InFlightLimit

STEPS = st.lists(st.one_of(st.just("enter"), st.just("leave"), st.none(), st.integers(1, 5)), max_size=60)


@given(STEPS)
def test_window_admits_runs_in_order_and_never_exceeds_its_limit(steps: list[str | int | None]) -> None:
    window, limit = InFlightLimit(2), 2
    begun: list[int] = []
    entered = left = 0

    def start(number: int) -> Callable[[], None]:
        return lambda: begun.append(number)

    for step in steps:
        before = len(begun)
        if step == "enter":
            window.enter(start(entered))
            entered += 1
        elif step == "leave":
            if len(begun) > left:
                left += 1
                window.leave()
        else:
            limit = 1_000 if step is None else int(step)
            window.resize(None if step is None else int(step))
        assert begun == list(range(len(begun)))
        inside = len(begun) - left
        assert inside <= limit or len(begun) == before
        assert inside >= min(limit, entered - left)


def test_next_run_is_admitted_when_a_run_ends_during_its_start() -> None:
    window, ended = InFlightLimit(1), list[int]()

    def start(number: int) -> Callable[[], None]:
        def begin() -> None:
            ended.append(number)
            window.leave()

        return begin

    window.enter(lambda: None)
    for number in range(2_000):
        window.enter(start(number))
    window.leave()

    assert ended == list(range(2_000))

"""The final state of a run that submitted others, from what its function returned and what became of them."""

from __future__ import annotations

from typing import Any

from flowcluster import errors, states
from flowcluster.engine import inputs
from flowcluster.engine.run import FlowRun
from flowcluster.futures import RunFuture
from flowcluster.nesting import replace
from flowcluster.states import State, Tally
from flowcluster.waiting import Colour


async def conclude(run: FlowRun, value: Any, colour: Colour) -> State:
    """The final state of `run`, all of whose own task runs have ended, when its function returned `value`."""
    if value is None:
        # All runs count, also those that the function saw fail.
        return by_tally(run.tally) if run.tally.total else states.completed()
    returned = Tally()

    def count(leaf: RunFuture[Any] | State, _: bool) -> Any:
        returned.add(leaf.state if isinstance(leaf, RunFuture) else leaf)
        return leaf

    await inputs.ended(inputs.futures_in(value), colour)  # those of a parent run may go on
    replace(value, count)
    if not returned.total:
        return states.completed(value)
    state = by_tally(returned)
    if state.is_completed():
        # Before the runner closes: results that workers keep go with them.
        state.data = await colour.call(lambda: inputs.values_of(value))
    return state


def by_tally(tally: Tally) -> State:
    """The sum of states; where the cluster was the cause, that counts and not the number of its victims."""
    state = tally.state()
    if isinstance(state.data, errors.ClusterError) and not state.is_completed():
        return without_cluster(state.data)
    return state


def without_cluster(error: errors.ClusterError) -> State:
    """The state of a run whose cluster went away, or never came."""
    return states.crashed(states.describe(error), error)

"""The final state of a run that submitted others, from what its function returned and their states."""

from __future__ import annotations

from typing import Any

from flowcluster import errors, states
from flowcluster._util.waiting import WaitStrategy
from flowcluster.engine import inputs
from flowcluster.engine.flow_run import FlowRun
from flowcluster.futures import RunFuture
from flowcluster.futures.nesting import replace
from flowcluster.states import State, Tally


async def final_state(run: FlowRun, value: Any, strategy: WaitStrategy) -> State:
    """Return the final state of a flow run.

    Args:
        run: the flow run; all its own task runs have ended.
        value: what its function returned.
        strategy: how to wait.
    """
    if value is None:
        # All runs count, also those whose failure the function has handled.
        return state_of_tally(run.tally) if run.tally.total else states.completed()
    returned = Tally()

    def count(leaf: RunFuture[Any] | State, _: bool) -> Any:
        returned.add(leaf.state if isinstance(leaf, RunFuture) else leaf)
        return leaf

    await inputs.wait_until_ended(inputs.futures_in(value), strategy)  # futures of a parent run may not have ended
    replace(value, count)
    if not returned.total:
        return states.completed(value)
    state = state_of_tally(returned)
    if state.is_completed():
        # Before the runner closes: results on workers are lost with the workers.
        state.data = await strategy.run_sync(lambda: inputs.values_of(value))
    return state


def state_of_tally(tally: Tally) -> State:
    """Return the state for a tally. If the first cause is a lost cluster, the state is that of the lost cluster."""
    state = tally.state()
    if isinstance(state.data, errors.ClusterError) and not state.is_completed():
        return state_without_cluster(state.data)
    return state


def state_without_cluster(error: errors.ClusterError) -> State:
    """Return the state of a run whose cluster was lost or did not start."""
    return states.crashed(states.describe(error), error)

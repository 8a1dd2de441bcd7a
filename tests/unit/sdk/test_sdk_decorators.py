"""`@flow` and `@task`: with and without arguments, and what they refuse."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster._util import pickling
from flowcluster.project import by_value
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, SequentialTaskRunner


@task
def importable(value: int) -> int:
    return value + 1


def test_both_spellings_decorate() -> None:
    """With and without parentheses; names and documentation stay with the function."""

    @flow
    def plain_flow() -> None:
        """What it does."""

    @flow()
    def called_flow() -> None:
        pass

    @task(name="other")
    def named_task() -> None:
        pass

    assert (plain_flow.name, plain_flow.__doc__) == ("plain-flow", "What it does.")
    assert called_flow.name == "called-flow"
    assert (named_task.name, named_task.__name__) == ("other", "named_task")
    assert repr(plain_flow) == "<Flow 'plain-flow'>"
    assert repr(named_task) == "<Task 'other'>"


def test_runner_is_a_type_or_an_instance() -> None:
    """A type is used with its defaults; without any, the concurrent runner is."""

    def body() -> None:
        pass

    instance = DaskTaskRunner(address="tcp://somewhere:8786")

    assert isinstance(flow(body).task_runner, ConcurrentTaskRunner)
    assert isinstance(flow(task_runner=SequentialTaskRunner)(body).task_runner, SequentialTaskRunner)
    assert flow(task_runner=instance)(body).task_runner is instance
    assert flow(body).with_options(task_runner=instance).task_runner is instance
    with pytest.raises(TypeError, match="must be a task runner or its type"):
        flow(task_runner="dask")(body)  # type: ignore[call-overload]


def test_runner_describes_itself() -> None:
    """The text of a Dask runner tells where its tasks go."""
    assert repr(DaskTaskRunner(address="tcp://x:1")) == "DaskTaskRunner(address='tcp://x:1')"
    assert repr(DaskTaskRunner()) == "DaskTaskRunner(cluster_class='distributed.LocalCluster')"
    assert repr(SequentialTaskRunner()) == "SequentialTaskRunner()"


def test_bounded_runner_needs_a_worker() -> None:
    """A concurrent runner without threads could not run anything."""
    with pytest.raises(ValueError, match="at least 1"):
        ConcurrentTaskRunner(max_workers=0)


def test_options_change_a_copy() -> None:
    """`with_options` leaves the flow as it was."""

    @flow
    def original() -> str:
        return "ran"

    changed = original.with_options(name="changed", task_runner=SequentialTaskRunner)

    assert (original.name, changed.name) == ("original", "changed")
    assert changed() == original() == "ran"


@pytest.mark.parametrize("decorate", [flow, task])
def test_what_cannot_be_a_flow_or_task_is_refused(decorate: Any) -> None:
    """Not a function, a generator, a reserved parameter: each with what to do instead."""

    def generator() -> Any:
        yield 1

    def reserved(return_state: bool) -> None:
        pass

    with pytest.raises(TypeError, match="needs a function"):
        decorate(5)
    with pytest.raises(TypeError, match="is a generator"):
        decorate(generator)
    with pytest.raises(TypeError, match="'return_state': that is reserved"):
        decorate(reserved)
    with pytest.raises(TypeError, match="is a generator"):
        decorate(staticmethod(generator))


def test_colour_is_seen_through_wrappers() -> None:
    """Partials and callable objects of coroutine functions are async."""

    async def work(number: int) -> int:
        return number

    class Callable:
        async def __call__(self) -> None:
            pass

    assert task(functools.partial(work, 1)).spec.is_async
    assert task(Callable()).spec.is_async
    assert not task(len).spec.is_async


def test_importable_task_travels_by_name() -> None:
    """A task of a module is sent as its name, although the name leads to the task, not to the function."""
    data = pickle.dumps(importable.spec)
    back = pickle.loads(data)

    assert back.function is importable.fn
    assert len(data) < 200


@flow
def importable_flow() -> None:
    pass


def test_tasks_and_flows_of_a_module_are_themselves_elsewhere() -> None:
    """A task that another one's code mentions is the module's own task there, unless it has other options."""
    assert pickle.loads(pickle.dumps(importable)) is importable
    assert pickle.loads(pickle.dumps(importable_flow)) is importable_flow
    renamed = pickle.loads(pickle.dumps(importable.with_options(name="other")))

    assert (renamed.name, renamed.fn) == ("other", importable.fn)
    assert renamed(1) == 2


def test_local_flow_travels_with_its_code() -> None:
    """A flow that nobody can import can still be called by a task on a worker."""

    @flow
    def local() -> str:
        return "ran"

    assert pickle.loads(pickling.dumps(local))() == "ran"


def test_local_task_travels_with_its_code() -> None:
    """A function that nobody can import is sent with its code, and so are functions of scripts."""

    @task
    def local(value: int) -> int:
        return value + 2

    assert pickle.loads(pickling.dumps(local.spec)).function(1) == 3


def test_task_of_a_script_travels_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of a script's module are sent with their code, as only this process can import it."""
    import sys

    import cloudpickle

    monkeypatch.setattr(by_value, "scripts", {__name__})
    try:
        back = pickle.loads(pickling.dumps(importable.spec))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])

    assert back.function is not importable.fn
    assert back.function(1) == 2

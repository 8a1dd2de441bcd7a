"""`@flow` and `@task`: with and without arguments, and with arguments that they refuse."""

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


def test_decorators_work_with_and_without_arguments() -> None:
    """The decorated function keeps its name and its documentation."""

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
    """The flow uses a type with its defaults. Without a runner, it uses the concurrent one."""

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
    """The text of a Dask runner contains the address of its cluster."""
    assert repr(DaskTaskRunner(address="tcp://x:1")) == "DaskTaskRunner(address='tcp://x:1')"
    assert repr(DaskTaskRunner()) == "DaskTaskRunner(cluster_class='distributed.LocalCluster')"
    assert repr(SequentialTaskRunner()) == "SequentialTaskRunner()"


def test_bounded_runner_needs_a_worker() -> None:
    """A concurrent runner without threads cannot run a task."""
    with pytest.raises(ValueError, match="at least 1"):
        ConcurrentTaskRunner(max_workers=0)


def test_options_change_a_copy() -> None:
    """`with_options` does not change the flow itself."""

    @flow
    def original() -> str:
        return "ran"

    changed = original.with_options(name="changed", task_runner=SequentialTaskRunner)

    assert (original.name, changed.name) == ("original", "changed")
    assert changed() == original() == "ran"


@pytest.mark.parametrize("decorate", [flow, task])
def test_invalid_flow_or_task_is_refused(decorate: Any) -> None:
    """The error for an object that is not a function, a generator or a reserved parameter has the remedy."""

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


def test_wrapped_coroutine_function_is_async() -> None:
    """The SDK recognizes partials and callable objects of coroutine functions."""

    async def work(number: int) -> int:
        return number

    class Callable:
        async def __call__(self) -> None:
            pass

    assert task(functools.partial(work, 1)).spec.is_async
    assert task(Callable()).spec.is_async
    assert not task(len).spec.is_async


def test_importable_task_is_sent_by_name() -> None:
    """The SDK sends the name, although an import of it returns the task and not the function."""
    data = pickle.dumps(importable.spec)
    back = pickle.loads(data)

    assert back.function is importable.fn
    assert len(data) < 200


@flow
def importable_flow() -> None:
    pass


def test_task_or_flow_of_a_module_is_the_same_object_after_unpickling() -> None:
    """A task in the code of another one is the module's own task on the worker, unless it has other options."""
    assert pickle.loads(pickle.dumps(importable)) is importable
    assert pickle.loads(pickle.dumps(importable_flow)) is importable_flow
    renamed = pickle.loads(pickle.dumps(importable.with_options(name="other")))

    assert (renamed.name, renamed.fn) == ("other", importable.fn)
    assert renamed(1) == 2


def test_local_flow_is_sent_with_its_code() -> None:
    """A task on a worker can call a flow that the worker cannot import."""

    @flow
    def local() -> str:
        return "ran"

    assert pickle.loads(pickling.dumps(local))() == "ran"


def test_local_task_is_sent_with_its_code() -> None:
    """The SDK sends a function that workers cannot import with its code."""

    @task
    def local(value: int) -> int:
        return value + 2

    assert pickle.loads(pickling.dumps(local.spec)).function(1) == 3


def test_task_of_a_script_is_sent_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this process can import the module of its script."""
    import sys

    import cloudpickle

    monkeypatch.setattr(by_value, "scripts", {__name__})
    try:
        back = pickle.loads(pickling.dumps(importable.spec))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])

    assert back.function is not importable.fn
    assert back.function(1) == 2

"""Flows and tasks as methods, and of any callable object."""

from __future__ import annotations

import asyncio
import functools
import pickle
import types
from collections.abc import Callable
from typing import Any, cast

import pytest

from flowcluster import Flow, Task, flow, task
from flowcluster._util import pickling
from flowcluster._util.functions import is_coroutine_function
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.states import State
from flowcluster.task_runners import SequentialTaskRunner, TaskRunner


class Base:
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    @flow
    def scaled(self, number: int) -> int:
        return self.factor * number

    @flow
    async def scaled_async(self, number: int) -> int:
        return self.factor * number

    @classmethod
    @flow
    def named(cls, number: int) -> str:
        return f"{cls.__name__}{number}"

    @flow
    @classmethod
    def named_outside(cls, number: int) -> str:
        return f"{cls.__name__}{number}"

    @staticmethod
    @flow
    def plain(number: int) -> int:
        return number

    @flow
    @staticmethod
    def plain_outside(number: int) -> int:
        return number

    @task
    def scale(self, number: int) -> int:
        return self.factor * number

    @task(retries=1)
    @classmethod
    def name(cls, number: int) -> str:
        return f"{cls.__name__}{number}"

    @classmethod
    @task
    def name_inside(cls, number: int) -> str:
        return f"{cls.__name__}{number}"

    @task
    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    @staticmethod
    @task
    def double_inside(number: int) -> int:
        return 2 * number


class Child(Base):
    pass


def in_flow(body: Callable[[], Any], runner: TaskRunner | None = None) -> Any:
    return flow(task_runner=runner or SequentialTaskRunner())(body)()


def test_flow_is_a_method() -> None:
    child: Any = Child(3)
    base, kind = cast(Any, Base), cast(Any, Child)

    assert child.scaled("5") == base.scaled(child, "5") == 15
    assert asyncio.run(child.scaled_async(5)) == 15
    assert base.named("5") == "Base5"
    assert child.named(5) == kind.named(5) == kind.named_outside(5) == child.named_outside(5) == "Child5"
    assert child.plain(5) == base.plain(5) == kind.plain_outside(5) == child.plain_outside(5) == 5
    assert child.scaled.with_options(name="other")(5) == 15


EACH: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda child: child.scale, 15),
    (lambda child: child.name, "Child5"),
    (lambda child: type(child).name, "Child5"),
    (lambda child: child.double, 10),
    (lambda child: child.double_inside, 10),
    (lambda child: type(child).double, 10),
    (lambda child: child.scale.with_options(name="other"), 15),
    (lambda child: child.name.with_options(name="other"), "Child5"),
    (lambda child: pickle.loads(pickling.dumps(child.scale)), 15),
    (lambda child: pickle.loads(pickling.dumps(child.name)), "Child5"),
]


@pytest.mark.parametrize(("find", "wanted"), EACH)
def test_task_is_a_method(find: Callable[[Any], Task[..., Any]], wanted: Any) -> None:
    found = find(Child(3))

    def body() -> list[Any]:
        state = found(5, return_state=True)
        return [found(5), found.submit(5).result(), found.submit(number=5).result(), *found.map([5]).result(), state]

    assert found(5) == wanted
    assert in_flow(body) == [wanted] * 5


def test_method_calls_the_tasks_of_its_class() -> None:
    class Pipeline(Base):
        @flow(task_runner=SequentialTaskRunner)
        def run(self: Any) -> list[Any]:
            return [self.scale.submit(5).result(), self.name.submit(5).result(), self.double.submit(5).result()]

    assert Pipeline(3).run() == [15, "Pipeline5", 10]


def test_method_is_one_task_in_one_run() -> None:
    seen = []

    def body() -> None:
        for factor in range(3):
            seen.append((Base(factor).scale.spec, Base(factor).scale.submit(5).result()))

    in_flow(body)

    assert [result for _, result in seen] == [0, 5, 10]
    assert {spec for spec, _ in seen} == {vars(Base)["scale"].spec}


def test_names_and_keys_of_a_method_depend_on_its_instance() -> None:
    seen = []

    class Named(Base):
        @task(task_run_name="by-{self.factor}", cache_key_fn=lambda _, arguments: seen.append(list(arguments)))
        def show(self, number: int) -> int:
            return number

    def body() -> list[str]:
        return [Named(3).show.submit(1).name, *(future.name for future in Named(4).show.map([1]))]

    assert in_flow(body) == ["by-3", "by-4"]
    assert seen == [["self", "number"]] * 2


def test_task_below_classmethod_is_refused_where_python_does_not_give_the_class() -> None:
    # The value of ``Base.name_inside`` from Python 3.13 on.
    lost: Any = types.MethodType(vars(Base)["name_inside"].__func__, Child)

    assert lost(5) == "Child5"
    with pytest.raises(TypeError, match=r"Put @task above @classmethod for Base\.name_inside"):
        in_flow(lambda: lost.submit(5))
    with pytest.raises(TypeError, match=r"Put @task above @classmethod for Base\.name_inside"):
        in_flow(lambda: lost.map([5]))


def test_return_state_gives_states_of_submitted_runs() -> None:
    @task
    async def halve(number: int) -> float:
        return number / 2

    halves, doubles = cast(Any, halve), cast(Any, Base.double)

    def body() -> list[State]:
        each = doubles.map([5, 6], return_state=True)
        return [doubles.submit(5, return_state=True), *each, halves.submit(4, return_state=True)]

    @flow
    async def body_async() -> list[Any]:
        return [await halves.submit(4, return_state=True), *await halves.map([4], return_state=True)]

    assert in_flow(body) == [10, 10, 12, 2.0]
    assert asyncio.run(body_async()) == [2.0, 2.0]


class Caller:
    def __init__(self) -> None:
        self.spec = "mine"
        self.map = "mine"
        self.note = "kept"

    def __call__(self, number: int) -> int:
        return number


class AsyncCaller:
    async def __call__(self, number: int) -> int:
        return number


class InheritedAsyncCaller(AsyncCaller):
    pass


def test_task_keeps_its_attributes_when_its_object_has_the_same_names() -> None:
    made: Any = task(Caller())

    assert isinstance(made.spec, TaskSpec)
    assert made.note == "kept"
    assert in_flow(lambda: made.map([5]).result()) == [5]
    assert cast(Any, flow(Caller()))("5") == 5


@pytest.mark.parametrize("made", [AsyncCaller(), InheritedAsyncCaller(), functools.partial(InheritedAsyncCaller())])
def test_object_with_an_async_call_is_async(made: Any) -> None:
    assert is_coroutine_function(made)
    assert asyncio.run(flow(made)("5")) == 5


def test_callable_object_is_not_a_method() -> None:
    class Holder:
        called: Any = task(Caller())
        part: Any = task(functools.partial(max, 3))
        flow_of_object: Any = flow(Caller())

    assert (Holder().called(5), Holder().part(5), Holder().flow_of_object(5)) == (5, 5, 5)


class Generating:
    def __call__(self) -> Any:
        yield 1


@pytest.mark.parametrize("decorate", [flow, task])
@pytest.mark.parametrize("made", [Generating(), functools.partial(Generating())])
def test_object_that_generates_is_refused(decorate: Any, made: Any) -> None:
    with pytest.raises(TypeError, match="is a generator"):
        decorate(made)


def test_flow_of_a_class_can_be_pickled() -> None:
    back: Flow[..., Any] = pickle.loads(pickling.dumps(Child(3).scaled))

    assert back(5) == 15


@task
def add(self: int, key: int, args: int, kwargs: int, name: int, spec: int, run: int) -> int:
    return self + key + args + kwargs + name + spec + run


@flow(task_runner=SequentialTaskRunner())
def add_all(self: int, **others: Any) -> list[int]:
    called = add(self=self, **others)
    submitted = add.submit(self=self, **others).result()
    mapped = add.map(self=[self], **others).result()
    return [called, submitted, *mapped]


def test_parameter_can_have_any_name() -> None:
    numbers: dict[str, Any] = {
        name: place for place, name in enumerate(["self", "key", "args", "kwargs", "name", "spec", "run"])
    }

    assert add_all(**numbers) == [sum(numbers.values())] * 3

"""A script with modules beside it: called with a kind of cluster and its address."""

import multiprocessing
import pickle
import sys
from dataclasses import dataclass

import prices
from prices import Item

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner


@task
def with_tax(item: Item) -> Item:
    assert type(item) is prices.Item
    return Item(item.name, item.net, prices.with_tax(item.net))


@task
def many(item: Item) -> list[Item]:
    return [Item("x" * 50, item.net) for _ in range(1000)]


@task
def count(items: list[Item]) -> int:
    return sum(type(item) is Item for item in items)


@task
def inside() -> float:
    import importlib

    import shop.rates

    assert importlib.import_module("shop.rates") is shop.rates
    return float(shop.rates.tax())


@task
def nested(item: Item) -> float:
    return float(with_tax.submit(item).result().gross)


@task
def fail() -> None:
    raise prices.PriceError("no price")


@dataclass
class Priced:
    item: Item


def priced(item: Item) -> Priced:
    return Priced(Item(item.name, item.net, prices.with_tax(item.net)))


@task
def in_processes(way: str, item: Item) -> bool:
    with multiprocessing.get_context(way).Pool(1) as pool:
        gross = pool.apply_async(prices.with_tax, [item.net]).get(60)
        return bool(pool.apply_async(priced, [item]).get(60) == Priced(Item(item.name, item.net, gross)))


@task
def written(data: bytes) -> bytes:
    priced = pickle.loads(data)
    assert (type(priced), type(priced.item)) == (Priced, Item)
    return pickle.dumps(priced)


@flow
def price_list() -> str:
    item = Item("chair", 10.0)
    print(f"gross {with_tax.submit(item).result().gross:.2f}")
    items = many.submit(item)
    print("large", count.submit(items).result(), type(items.result()[0]) is Item)
    print("inside", inside.submit().result())
    print(f"nested {nested.submit(item).result():.2f}")
    print("processes", *(in_processes.submit(way, item).result() for way in ("fork", "spawn")))
    data = written.submit(pickle.dumps(Priced(item))).result()
    print("pickled", pickle.loads(data) == Priced(item), b"_flowcluster" in data)
    state = fail.submit().wait()
    assert state is not None
    print("error", type(state.data) is prices.PriceError, state.data)
    return "done"


if __name__ == "__main__":
    runner = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}[sys.argv[1]]
    price_list.with_options(task_runner=runner(address=sys.argv[2]))()

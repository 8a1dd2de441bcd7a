"""A flow of two files: its tasks take and return instances of a class of the other one."""

import of_two_files_prices as prices
from of_two_files_prices import Item

from flowcluster import flow, task


@task
def tax(item: Item) -> Item:
    return Item(item.name, item.net, prices.with_tax(item.net))


@flow
def price_list() -> list[float]:
    items = [Item(f"item {number}", 10.0 * number) for number in (1, 2, 3)]
    return [future.result().gross for future in tax.map(items)]

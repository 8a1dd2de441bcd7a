"""A script with a module and a package beside it. Run as a program, it takes a kind of cluster of its own."""

import os
import sys

import of_two_files_prices as prices
from shop.units import Amount

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

RUNNERS = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}


@task
def price(item: prices.Item) -> tuple[prices.Item, Amount, str]:
    from shop import taxes

    assert type(item) is prices.Item
    with_tax = prices.Item(item.name, item.net, prices.with_tax(item.net))
    return with_tax, taxes.gross(Amount(item.net)), os.uname().nodename


@flow
def report(nets: list[float]) -> list[list[float]]:
    """Return gross prices by the module and by the package, which are calculated in another pod."""
    rows = []
    for future in price.map([prices.Item("chair", net) for net in nets]):
        item, amount, host = future.result()
        assert (type(item), type(amount)) == (prices.Item, Amount)
        assert host != os.uname().nodename
        rows.append([item.gross, amount.value])
    return rows


report_on_ray = report.with_options(task_runner=RayTaskRunner())

if __name__ == "__main__":
    kind = sys.argv[1]
    runner = RUNNERS[kind](
        cluster_class=f"flowcluster.clusters.{kind}KubernetesCluster", cluster_kwargs={"n_workers": 1}
    )
    print("report", report.with_options(task_runner=runner)([10.0, 20.0]))

"""A flow that can only be imported as a part of its package."""

import os

from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner

from ..units import Amount


@task
def gross(amount: Amount) -> tuple[Amount, str]:
    from .. import taxes

    assert type(amount) is Amount
    return taxes.gross(amount), os.uname().nodename


@flow
def daily(values: list[float]) -> list[float]:
    """Return gross amounts, which are calculated in another pod."""
    amounts, hosts = zip(*(future.result() for future in gross.map([Amount(value) for value in values])), strict=True)
    assert os.uname().nodename not in hosts
    assert {type(amount) for amount in amounts} == {Amount}
    return [amount.value for amount in amounts]


daily_on_ray = daily.with_options(task_runner=RayTaskRunner())

"""The flow of `tests.bench.ray_cost`: a few short tasks."""

from flowcluster import flow, task


@task
def double(number: int) -> int:
    return 2 * number


@flow
def doubles() -> int:
    return sum(future.result() for future in double.map(range(8)))

"""A flow whose task starts processes, and writes and reads pickles."""

import multiprocessing
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from flowcluster import flow, task


@dataclass
class Row:
    number: int


def doubled(row: Row) -> Row:
    return Row(2 * row.number)


@task
def in_pool(way: str, row: Row) -> Row:
    # More processes than work: some wait for work when the pool ends.
    with multiprocessing.get_context(way).Pool(2) as pool:
        return pool.apply_async(doubled, [row]).get(60)


@task
def in_executor(row: Row) -> Row:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(doubled, row).result(60)


@task
def kept(row: Row) -> tuple[Row, bytes]:
    with tempfile.TemporaryFile() as file:
        pickle.dump(doubled(row), file)
        file.seek(0)
        data = file.read()
    return pickle.loads(data), data


@flow
def pools() -> list[int]:
    """Return 2 from each way."""
    rows = [in_pool.submit(way, Row(1)).result() for way in ("fork", "spawn")]
    rows.append(in_executor.submit(Row(1)).result())
    row, data = kept.submit(Row(1)).result()
    rows += [row, pickle.loads(data)]
    assert {type(row) for row in rows} == {Row}
    return [row.number for row in rows]

"""Flows for the command line: what they print, how they end, and what they take and return."""

import dataclasses
import datetime
import subprocess
import sys
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner

LOCAL_DASK = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}


@task
def say(text: str) -> str:
    print("say", text, flush=True)
    subprocess.run(["echo", "a program says", text])
    return text


@task
def fail() -> None:
    raise KeyError("lost key")


@flow
def greetings(name: str, times: int = 1, tag: str | None = None) -> Any:
    sys.stdout.write("flow writes\n")
    return [say.submit(f"{name} {tag}") for _ in range(times)]


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def on_workers() -> None:
    say.submit("far away").wait()


@flow(name="two of three")
def two_of_three() -> None:
    say.submit("a")
    fail.submit()
    say.submit("b")


@dataclasses.dataclass
class Report:
    day: datetime.date
    values: set[int]
    share: float


@flow
def report() -> dict[Any, Any]:
    return {"report": Report(datetime.date(2042, 1, 2), {1}, 0.5), "3": (None, True)}


@flow
def odd() -> object:
    return object()


@flow
def large() -> list[str]:
    return ["x" * 100] * 100


@flow
def untyped(value, path=None):  # type: ignore[no-untyped-def] # parameters without annotations are the test's subject
    return [type(value).__name__, value]


@flow
def interrupted() -> None:
    raise KeyboardInterrupt


@flow
def exits(code: int = 7) -> None:
    sys.exit(code)

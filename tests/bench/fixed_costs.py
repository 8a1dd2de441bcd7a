"""What the SDK costs before the first task: ``python -m tests.bench.fixed_costs``.

The script measures an empty flow in this process, and ``import flowcluster`` in a new process, compared with one that
imports nothing. All modules are compiled to bytecode, as after an installation.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from flowcluster import flow
from tests.bench.common import Table, logging_at, medians, options

BOUND_FLOW_MS = 5
BOUND_IMPORT_MS = 150

#: Modules that a program which only imports the SDK must not load.
NOT_WANTED = ("dask", "distributed", "ray", "kubernetes", "kubernetes_asyncio", "kr8s", "asyncio", "rich", "typer")
FORBIDDEN = NOT_WANTED[:6]

FIRST_FLOW = """
import time
from flowcluster import flow
@flow
def empty(): pass
started = time.perf_counter()
empty()
print(time.perf_counter() - started)
"""


@flow
def empty() -> None:
    """Do nothing."""


def empty_flow(count: int) -> float:
    """Return the seconds for one run of an empty flow."""
    with logging_at(logging.WARNING):
        started = time.perf_counter()
        for _ in range(count):
            empty()
        return (time.perf_counter() - started) / count


def process(code: str) -> float:
    """Return the seconds that a new interpreter takes for `code`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def output_of(*arguments: str) -> str:
    """Return what a new interpreter prints on both streams."""
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


@contextlib.contextmanager
def bytecode() -> Iterator[None]:
    """Compile all modules for new interpreters in the block, and leave nothing in the checkout."""
    before = {name: os.environ.pop(name, None) for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")}
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        process("import flowcluster")
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ.update({name: value for name, value in before.items() if value is not None})


def first_flow() -> float:
    """Return the seconds for an empty flow that is the first of its process."""
    return float(output_of("-W", "ignore", "-c", FIRST_FLOW).split("\n")[0])


def dearest_imports() -> list[tuple[str, float]]:
    """Return the five packages whose own modules take longest to import, in milliseconds."""
    before = {line.rpartition("|")[2].strip() for line in output_of("-X", "importtime", "-c", "pass").splitlines()}
    spent: dict[str, float] = {}
    for line in output_of("-X", "importtime", "-c", "import flowcluster").splitlines():
        own, _, module = line.removeprefix("import time:").partition("|")[0], "", line.rpartition("|")[2].strip()
        if own.strip().isdigit() and module not in before:
            package = module.partition(".")[0]
            spent[package] = spent.get(package, 0) + int(own) / 1000
    return sorted(spent.items(), key=lambda item: -item[1])[:5]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, tasks=200, repeats=11)
    with bytecode():
        table = measure(chosen.tasks, chosen.repeats)
    table.finish()


def measure(tasks: int, repeats: int) -> Table:
    """Measure all figures."""
    found = medians(
        {
            "empty flow": lambda: empty_flow(tasks),
            "first flow": first_flow,
            "python -c pass": lambda: process("pass"),
            "import flowcluster": lambda: process("import flowcluster"),
        },
        repeats,
    )
    imported = output_of("-c", "import sys, flowcluster; print(*sys.modules)").split()
    forbidden, others = ([name for name in names if name in imported] for names in (FORBIDDEN, NOT_WANTED[6:]))
    table = Table(f"Fixed costs, {repeats} rounds")
    table.row("empty flow", found["empty flow"] * 1000, "ms", BOUND_FLOW_MS)
    table.row("empty flow, the first of a process", found["first flow"] * 1000, "ms")
    table.row("python -c pass", found["python -c pass"] * 1000, "ms", digits=0)
    over = found["import flowcluster"] - found["python -c pass"]
    table.row("import flowcluster, over that", over * 1000, "ms", BOUND_IMPORT_MS, digits=0)
    table.text("  imports of Dask, Ray, Kubernetes", ", ".join(forbidden) or "none", not forbidden)
    table.text("  imports of event loop, terminal", ", ".join(others) or "none")
    for package, spent in dearest_imports():
        table.row(f"  own time of {package}", spent, "ms", digits=1)
    return table


if __name__ == "__main__":
    main()

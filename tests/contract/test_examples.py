"""The examples, run as users run them: the lines that they print and the lines that they log."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import unmeasured

# Each runs once, and several tests look at what it printed. Some use the Ray that the tests of that group share.
pytestmark = pytest.mark.xdist_group("ray")

EXAMPLES = Path(__file__).parents[2] / "examples"

GREETINGS = [f"{word} {name}" for name in ("arthur", "trillian", "ford", "marvin") for word in ("hello", "goodbye")]

#: What each example prints, in this order.
IN_ORDER = {
    "sequential_flow": GREETINGS,
    "sequential_direct_calls": GREETINGS,
    "direct_calls": GREETINGS,
    "ray_direct_calls": GREETINGS,
    "ray_subflow_direct_calls": GREETINGS * 2,
    "dask_subflow": ["Hello!", "Hello from Dask!", "Hello!"],
    "dask_subflow_direct_calls": ["Hello!", "Hello from Dask!", "Hello!"],
    "dask_runner": [],
    "dask_workers": ["[2, 2, 2, 2]"],
    "dask_cluster_class": ["LocalCluster with 4 workers"],
    "dask_adaptive": ["1"],
    "dask_resources_direct_calls": ["0", "1", "2", "3"],
    "dask_collections": ["499.5 499.5"],
    "future_type": ["variable 'future' is type <class 'flowcluster.futures.TaskFuture'>"],
    "future_as_argument": ["<class 'str'>", "Hello Marvin!"],
    "future_result": ["42"],
    "raise_on_failure": [],
    "get_state": [],
    "wait": [],
    "wait_timeout": [],
    "wait_for": [],
    "only_tasks": [],
    "only_functions": [],
    "mixing": ["HI MARVIN! Nice to meet you :)"],
    "blocking_result": ["Doing lots of important stuff!"],
}

#: What examples print whose tasks run at the same time: each line once, in any order.
IN_ANY_ORDER = {
    "dask_flow": GREETINGS,
    "dask_priority": ["1", "2"],
    "dask_resources": ["0", "1", "2", "3"],
}

#: What Ray's workers print, and how often all of it is printed with what the flow's own process prints.
ON_RAY = {"ray_flow": (GREETINGS, 1), "ray_subflow": (GREETINGS, 2)}

#: Examples that use the Ray of the tests: a Ray takes seconds to start. `ray_flow` starts one, as all do for a user.
AT_A_RAY = {"ray_direct_calls", "ray_subflow", "ray_subflow_direct_calls"}

#: Examples whose printed lines stand between certain log lines, as in a terminal.
SEEN_LIVE = {"sequential_flow", "glass_tower", "dask_subflow"}

# Where another program has Dask's usual dashboard port, a second cluster warns about taking another one.
QUIET = ["-W", "ignore:Port 8787 is already in use"]

# The SDK's log lines, and those of Dask itself, which warns where a machine is slow.
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ *\| |\d{4}-\d\d-\d\d \S+ - distributed\.")

# A program that ends well prints none of these, in no process of the SDK, Dask or Ray.
TROUBLE = re.compile(r"Traceback|\| (ERROR|CRITICAL)|- (ERROR|CRITICAL) -|CancelledError|[Nn]ever (awaited|retrieved)")


class Ran(NamedTuple):
    """An example that ended well, and all that it wrote."""

    example: str
    text: str

    @property
    def printed(self) -> str:
        """What it wrote, without log lines."""
        return "".join(line for line in self.text.splitlines(keepends=True) if not LOG_LINE.match(line))

    @property
    def log(self) -> list[str]:
        """Its log lines."""
        return [line for line in self.seen if " | INFO    | " in line]

    @property
    def seen(self) -> list[str]:
        """All lines, with times, generated names, hashes and ports replaced by fixed texts."""
        text = re.sub(r"(?m)^\d\d:\d\d:\d\d\.\d{3} \|", "TIME |", self.text)
        text = re.sub(r"low run '[a-z]+-[a-z]+'", "low run 'RUN'", text)
        text = re.sub(r"-[0-9a-f]{8}-(\d+)'", r"-HASH-\1'", text)
        text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
        return [line for line in text.splitlines() if line.startswith("TIME") or not LOG_LINE.match(line)]


def run_copy(directory: Path, example: str, *arguments: str, ray: str | None = None) -> Ran:
    """Run a copy of an example in an empty directory, where `ray` is the address of the Ray that programs use."""
    shutil.copy(EXAMPLES / f"{example}.py", directory)
    environment = unmeasured.environment() | {"PYTHONUNBUFFERED": "1" if example in SEEN_LIVE else ""}
    if ray is not None:
        environment["RAY_ADDRESS"] = ray
    done = subprocess.run(
        [sys.executable, *QUIET, f"{example}.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env=environment,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout
    assert not TROUBLE.search(done.stdout), done.stdout
    return Ran(example, done.stdout)


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Run what the selected tests need, two at a time: most of the time clusters start and end."""
    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    names = list(dict.fromkeys(item.callspec.params["ran"] for item in mine))
    ray = request.getfixturevalue("ray_head").address if AT_A_RAY.intersection(names) else None
    with ThreadPoolExecutor(2) as pool:
        futures = {}
        for name in names:
            place = ray if name in AT_A_RAY else None
            futures[name] = pool.submit(run_copy, tmp_path_factory.mktemp(name), name, ray=place)
        yield lambda name: futures[name].result()


@pytest.fixture
def ran(request: pytest.FixtureRequest, started: Callable[[str], Ran]) -> Ran:
    """The example that the test names."""
    return started(request.param)


def on(*examples: str) -> pytest.MarkDecorator:
    """Run a test for each of the examples."""
    return pytest.mark.parametrize("ran", examples, indirect=True)


@on("elevator")
def test_elevator_stops_at_the_first_floor_first(ran: Ran) -> None:
    """The tasks of all floors run at the same time, so the nearest floor is reached first."""
    # Threads print here: a line can come before the end of another.
    assert sorted(re.findall(r"elevator moving to floor (\d+)", ran.printed), key=int) == [str(n) for n in range(1, 11)]
    assert re.findall(r"elevator stops on floor (\d+)", ran.printed) == [str(floor) for floor in range(1, 11)]


@on(*IN_ORDER)
def test_lines_in_order(ran: Ran) -> None:
    """An example that promises an order prints exactly these lines."""
    assert ran.printed.splitlines() == IN_ORDER[ran.example]


@on(*IN_ANY_ORDER)
def test_lines_in_any_order(ran: Ran) -> None:
    """On a cluster every line is printed, although no flow here waits for its tasks."""
    expected = IN_ANY_ORDER[ran.example]

    assert sorted(re.findall("|".join(expected), ran.printed)) == sorted(expected)
    assert not re.sub("|".join(expected), "", ran.printed).strip()


@on(*ON_RAY)
def test_lines_on_ray(ran: Ran) -> None:
    """On Ray every line is printed, after the name and the process of its task."""
    expected, times = ON_RAY[ran.example]
    text = re.sub(r"\x1b\[\d+m", "", ran.printed)
    on_workers = re.findall(r"^\(say_(?:hello|goodbye) pid=\d+\) (.*)$", text, re.MULTILINE)

    assert sorted(on_workers) == sorted(expected)
    assert sorted(re.findall("|".join(expected), text)) == sorted(expected * times)


@on("glass_tower")
def test_glass_tower_stops_at_every_floor_in_order(ran: Ran) -> None:
    """The 38 tasks run in the order of submission."""
    lines = [re.fullmatch(r"(elevator stops on \d+) which is (?:on fire|clear)", line) for line in _printed(ran)]

    assert [line and line[1] for line in lines] == [f"elevator stops on {floor}" for floor in range(1, 39)]


@on(*IN_ORDER, *IN_ANY_ORDER, *ON_RAY, "elevator", "glass_tower")
def test_flow_completes(ran: Ran) -> None:
    """Every flow of every example logs at its end that it completed."""
    ends = [line for line in ran.log if re.search("Flow run '.*Finished in state", line)]
    message = "" if ran.example in {"dask_runner", "dask_workers", "dask_cluster_class", "only_functions"} else ALL

    assert len(ends) == (2 if "subflow" in ran.example else 1)
    assert {end.partition(" - ")[2] for end in ends} == {f"Finished in state Completed({message})"}


@on("sequential_flow")
def test_log_of_sequential_flow(ran: Ran) -> None:
    """Each run is created, executed and finished before the next. What it prints comes in between."""
    numbers = {"hello": 0, "goodbye": 0}
    expected = _beginning("greetings", "SequentialTaskRunner", "sequentially")
    for line in GREETINGS:
        word = line.split()[0]
        expected += _executed(f"say_{word}", numbers[word], line)
        numbers[word] += 1

    assert ran.seen == [*expected, *_end()]


@on("glass_tower")
def test_log_of_glass_tower(ran: Ran) -> None:
    """The flow has the name of its decorator, and its 38 runs run one after the other."""
    expected = _beginning("towering-infernflow", "SequentialTaskRunner", "sequentially")
    for number, line in enumerate(_printed(ran)):
        expected += _executed("stop_at_floor", number, line)

    assert ran.seen == [*expected, *_end()]


@on("dask_flow", "ray_flow")
def test_log_of_parallel_flow(ran: Ran) -> None:
    """A cluster is created, all runs are submitted in order, and end before the flow."""
    library = ran.example.removesuffix("_flow")
    expected = [*_beginning("greetings", f"{library.title()}TaskRunner", "in parallel"), *_cluster(library)]
    for number in range(4):
        expected += [*_submitted("say_hello", number), *_submitted("say_goodbye", number)]
    ended = [line for line in ran.log if "Task run '" in line]

    assert [line for line in ran.log if line not in ended] == [*expected, *_end()]
    assert ran.log[-1:] == _end()
    assert sorted(ended) == sorted(
        _finished(f"say_{word}", number) for word in ("hello", "goodbye") for number in range(4)
    )


@on("dask_subflow")
def test_log_of_dask_subflow(ran: Ran) -> None:
    """The subflow's lines, its cluster's and its task's stand between those of the parent's two tasks."""
    assert ran.seen == [
        *_beginning("sequential-flow", "SequentialTaskRunner", "sequentially"),
        *_executed("hello_local", 0, "Hello!"),
        "TIME | INFO    | Flow run 'RUN' - Created subflow run 'RUN' for flow 'dask-subflow'",
        *_cluster("dask"),
        *_submitted("hello_dask", 0),
        "Hello from Dask!",
        _finished("hello_dask", 0),
        *_end(),
        *_executed("hello_local", 1, "Hello!"),
        *_end(),
    ]


def test_example_uses_an_existing_dask_cluster(cluster: Any, tmp_path: Path) -> None:
    """The example connects to the address of its argument, creates no cluster, and does not close that one."""
    ran = run_copy(tmp_path, "dask_address", cluster.scheduler_address)

    assert ran.log == [
        *_beginning("my-flow", "DaskTaskRunner", "in parallel"),
        _cluster("dask")[1],
        "TIME | INFO    | Flow run 'RUN' - Finished in state Completed()",
    ]
    assert cluster.status.name == "running"


def test_example_uses_an_existing_ray(ray_head: Any, tmp_path: Path) -> None:
    """The example connects to the address of its argument, and starts no Ray."""
    ran = run_copy(tmp_path, "ray_address", ray_head.address)

    assert ran.log == [
        *_beginning("my-flow", "RayTaskRunner", "in parallel"),
        "TIME | INFO    | flowcluster.task_runner.ray - Connecting to Ray at HOST",
        _cluster("ray")[1],
        "TIME | INFO    | Flow run 'RUN' - Finished in state Completed()",
    ]


def test_every_example_is_tested() -> None:
    """Each file in the directory has a test, and a row in the table of its README.

    Those on Kubernetes have tests of their own: ``tests/e2e/test_scaling.py``, ``tests/e2e/test_shared_clusters.py``.
    """
    tested = {
        *IN_ORDER,
        *IN_ANY_ORDER,
        *ON_RAY,
        "elevator",
        "glass_tower",
        "dask_address",
        "ray_address",
        "adaptive_dask",
        "shared_dask",
        "shared_ray",
    }
    files = {file.stem for file in EXAMPLES.glob("*.py")}
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    assert files == tested
    assert sorted(listed) == sorted(files)


ALL = "'All states completed.'"


def _printed(ran: Ran) -> list[str]:
    return ran.printed.splitlines()


def _beginning(flow: str, runner: str, how: str) -> list[str]:
    return [
        f"TIME | INFO    | flowcluster.engine - Created flow run 'RUN' for flow '{flow}'",
        f"TIME | INFO    | Flow run 'RUN' - Starting '{runner}'; submitted tasks will be run {how}...",
    ]


def _cluster(library: str) -> list[str]:
    lines = {
        "dask": [
            "Creating a new Dask cluster with `distributed.deploy.local.LocalCluster`",
            "The Dask dashboard is available at http://HOST/status",
        ],
        "ray": [
            "Creating a local Ray instance",
            "Using Ray cluster with 1 nodes.",
            "The Ray UI is available at HOST",
        ],
    }
    return [f"TIME | INFO    | flowcluster.task_runner.{library} - {line}" for line in lines[library]]


def _created(task: str, number: int) -> str:
    return f"TIME | INFO    | Flow run 'RUN' - Created task run '{task}-HASH-{number}' for task '{task}'"


def _executed(task: str, number: int, printed: str) -> list[str]:
    return [
        _created(task, number),
        f"TIME | INFO    | Flow run 'RUN' - Executing '{task}-HASH-{number}' immediately...",
        printed,
        _finished(task, number),
    ]


def _submitted(task: str, number: int) -> list[str]:
    return [
        _created(task, number),
        f"TIME | INFO    | Flow run 'RUN' - Submitted task run '{task}-HASH-{number}' for execution.",
    ]


def _finished(task: str, number: int) -> str:
    return f"TIME | INFO    | Task run '{task}-HASH-{number}' - Finished in state Completed()"


def _end() -> list[str]:
    return [f"TIME | INFO    | Flow run 'RUN' - Finished in state Completed({ALL})"]

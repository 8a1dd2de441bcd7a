"""Log lines of workers: complete, in order, under the right name, on every task runner."""

from __future__ import annotations

import logging
import logging.config
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster import flow, get_run_logger, task
from flowcluster._output import library_logs
from flowcluster.task_runners import DaskTaskRunner, SequentialTaskRunner, TaskRunner
from tests.contract.kinds import make
from tests.support import unmeasured
from tests.support.frames import sdk_frames

FLOWS = Path(__file__).with_name("flows")
Lines = Callable[[], list[str]]


@task
def speak() -> None:
    logger = get_run_logger()
    for number in range(20):
        logger.info("line %d", number)
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("went wrong", extra={"volume": 11, "steps": [1, 2], "where": {"x": 1.5}})


def texts(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Return the messages that were logged under the name of a task run."""
    return [record.getMessage() for record in caplog.records if vars(record).get("task_run_name") == name]


def test_lines_come_in_order_and_before_the_end(
    runner: TaskRunner, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines of a task run keep their order, exceptions and extra fields, and its end comes after them."""

    @flow(task_runner=runner)
    def body() -> list[str]:
        return [speak.submit().name for _ in range(3)]

    names = body()

    for name in names:
        assert texts(caplog, name) == [
            *(f"line {number}" for number in range(20)),
            "went wrong",
            "Finished in state Completed()",
        ]
    for record in caplog.records:
        if record.getMessage() == "went wrong":
            fields = vars(record)
            assert (fields["volume"], list(fields["steps"]), fields["where"]) == (11, [1, 2], {"x": 1.5})
            assert "flowcluster_topic" not in fields or record.processName == "MainProcess"
    shown = [line for line in lines() if "went wrong" in line]
    assert len(shown) == 3
    assert all(line.endswith("KeyError: 'lost'") and line.count("Traceback") == 1 for line in shown)
    assert [sdk_frames(line) for line in shown] == [[], [], []]


def test_every_line_of_a_run_names_its_flow_run(runner: TaskRunner, lines: Lines, caplog: Any) -> None:
    """An application's own handler finds flow and flow run on each record, also on those of the engine."""

    @flow(task_runner=runner)
    def body() -> str:
        return speak.submit().name

    name = body()
    of_task = [vars(record) for record in caplog.records if vars(record).get("task_run_name") == name]

    assert {fields["flow_name"] for fields in of_task} == {"body"}
    assert len({fields["flow_run_name"] for fields in of_task}) == 1


def test_threads_of_a_task_use_its_logger(runner: TaskRunner, lines: Lines) -> None:
    """A run logger that was created in the task works in threads that the task starts."""

    @task
    def with_thread() -> None:
        logger = get_run_logger()
        thread = threading.Thread(target=logger.warning, args=("from %s", "a thread"))
        thread.start()
        thread.join()

    @flow(task_runner=runner)
    def body() -> str:
        return with_thread.submit().name

    name = body()

    assert f"Task run '{name}' - from a thread" in lines()


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Request the lines of one library's loggers, and restore these loggers after the test."""
    monkeypatch.setenv(library_logs.ENV_EXTRA_LOGGERS, "somelib, somelib.deep,, root, flowcluster")
    yield
    for name in ("somelib", "somelib.deep"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()


@task
def use_libraries() -> None:
    logging.getLogger("somelib.deep.inside").info("deep %s", "down")
    logging.getLogger("somelib").debug("too low")
    logging.getLogger("otherlib").info("not requested")


def test_log_lines_of_libraries_belong_to_the_run_that_calls_them(
    runner: TaskRunner, libraries: None, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """Loggers named in the driver's environment log each line once, with the run's names, from its level on."""

    @flow(task_runner=runner)
    def body() -> str:
        logging.getLogger("somelib").info("in the flow")
        return use_libraries.submit().name

    name = body()
    made = [record for record in caplog.records if record.name.startswith(("somelib", "otherlib"))]

    assert [record.getMessage() for record in made] == ["in the flow", "deep down"]
    assert vars(made[0])["flow_name"] == "body"
    assert (vars(made[1])["task_run_name"], vars(made[1])["flow_name"]) == (name, "body")


def test_log_lines_of_libraries_are_not_sent_by_default(
    runner: TaskRunner, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """A flow without such loggers gets none, also from a worker where another flow has requested them."""

    @flow(task_runner=runner)
    def body() -> None:
        use_libraries.submit()

    body()

    assert not [record for record in caplog.records if record.name.startswith(("somelib", "otherlib"))]


def test_log_lines_of_libraries_are_shown_with_the_name_of_their_logger() -> None:
    """Without logging of the application's own, the SDK shows a library's lines of flow, task and worker."""
    done = subprocess.run(
        [sys.executable, str(FLOWS / "with_libraries.py")],
        env={**unmeasured.environment(), library_logs.ENV_EXTRA_LOGGERS: "somelib"},
        capture_output=True,
        text=True,
    )
    shown = [line.partition(" | ")[2] for line in done.stderr.splitlines() if "somelib" in line]

    assert [line[: line.index("'")] + line[line.rindex("'") + 1 :] for line in shown] == [
        "WARNING | Flow run  - somelib: begins",
        "INFO    | Task run  - somelib.part: at work",
        "INFO    | Task run  - somelib.part: at work",
    ]


def test_log_level_of_the_driver_holds_on_workers() -> None:
    """Lines below the level that the driver sets appear nowhere, also not in the worker's own log."""
    command = [sys.executable, str(FLOWS / "quiet.py")]
    done = subprocess.run(command, env=unmeasured.environment(), capture_output=True, text=True, check=True)
    shown = [line for line in done.stderr.splitlines() if " | " in line]

    assert [line.split(" - ")[1] for line in shown] == ["loud", "loud"]


def test_traceback_is_logged_once_when_the_exception_reaches_parent_flows(runner: TaskRunner, lines: Lines) -> None:
    """The task logs the traceback, its flow and the parent flow only the text of the exception."""

    @task
    def bad() -> None:
        raise ValueError("boom")

    @flow(task_runner=runner)
    def child() -> None:
        bad.submit().result()

    @flow(task_runner=SequentialTaskRunner)
    def parent() -> None:
        child()

    for _ in range(2):
        with pytest.raises(ValueError, match="boom"):
            parent()
    shown = [line for line in lines() if "Encountered exception during execution" in line]

    assert [line.count("Traceback (most recent") for line in shown] == [1, 0, 0] * 2
    assert shown[1].endswith(" - Encountered exception during execution, as logged above: ValueError: boom")


def test_scheduler_deletes_the_log_lines_of_a_closed_client(cluster: Any) -> None:
    """Lines are events under the client's name. The scheduler drops these some time after the client has left."""
    before = set(cluster.scheduler._broker._topics)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> None:
        speak.submit()

    body()
    added = set(cluster.scheduler._broker._topics) - before

    assert len(added) == 1
    assert added.pop().startswith("Client-")


@task
def calls_a_flow() -> str:
    @task
    def below() -> None:
        get_run_logger().info("task below")

    @flow(log_prints=True)
    def inner() -> str:
        get_run_logger().info("flow below")
        print("print below")  # noqa: T201 - it becomes a log line
        below.submit().wait()
        return "over"

    return inner()


def test_log_lines_of_a_flow_that_a_task_calls_reach_the_driver(runner: TaskRunner, lines: Lines) -> None:
    """The lines are its own, those of its tasks, and those of the engine."""

    @flow(task_runner=runner)
    def body() -> str:
        return calls_a_flow.submit().result()

    assert body() == "over"
    texts = [line.partition(" - ")[2] for line in lines()]
    for expected in ("flow below", "print below", "task below"):
        assert texts.count(expected) == 1, texts
    assert len([text for text in texts if text.startswith("Created flow run") and "'inner'" in text]) == 1
    assert len([text for text in texts if text.startswith("Finished in state")]) == 4


CONFIGURATIONS = (
    "logging.config.dictConfig({'version': 1})",
    "logging.config.dictConfig({'version': 1, 'loggers': {'flowcluster': {'level': 'ERROR'}}})",
    "logging.basicConfig(level='ERROR', force=True)",
    "logging.disable()",
)


@flow
def speaking_flow(text: str) -> None:
    get_run_logger().info("flow %s", text)


@task
def configure_logging(code: str) -> None:
    """Configure logging in a task, and restore it: other tests use the same worker."""
    logger, manager = get_run_logger(), logging.root.manager
    before = logging.root.level, list(logging.root.handlers), manager.disable
    try:
        exec(code, {"logging": logging, "_": logging.config})
        logger.info("after %s", code)
        speaking_flow(code)
    finally:
        logging.root.level, logging.root.handlers[:], manager.disable = before


@pytest.mark.parametrize("kind", ["dask by address", "ray"])
def test_lines_arrive_after_a_task_configures_logging(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flowcluster")

    @flow(task_runner=make(kind, request))
    def body() -> None:
        for code in CONFIGURATIONS:
            configure_logging.submit(code).result()

    body()

    found = [record.getMessage() for record in caplog.records]
    expected = [f"{where} {code}" for code in CONFIGURATIONS for where in ("after", "flow")]
    assert [text for text in found if text in expected] == expected

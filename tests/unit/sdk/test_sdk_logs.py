"""Log lines: their level, their format, and how workers send them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcluster import context
from flowcluster._output import logs
from flowcluster._output.run_formatter import RunFormatter
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.runners.base import TaskPayload


def record(message: str = "greeting %s", *args: Any, **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("flowcluster.x", logging.INFO, "file.py", 1, message, args, None)
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize(
    ("attributes", "source"),
    [
        ({}, "flowcluster.x"),
        ({"flow_run_name": "a-b"}, "Flow run 'a-b'"),
        ({"flow_run_name": "a-b", "task_run_name": "t-0"}, "Task run 't-0'"),
    ],
)
def test_line_has_time_level_and_source(attributes: dict[str, Any], source: str) -> None:
    """The format is `HH:MM:SS.mmm | LEVEL   | source - text`."""
    made = record("greeting %s", "hi", **attributes)
    made.created, made.msecs = 0.123, 123.0
    line = RunFormatter().format(made)

    assert line[8:].startswith(".123 | INFO    | ")
    assert line.endswith(f" | {source} - greeting hi")


@pytest.mark.parametrize(
    ("text", "level"),
    [("", logging.INFO), ("warning", logging.WARNING), ("35", 35), ("nonsense", logging.INFO)],
)
def test_level_comes_from_the_environment(text: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The level can be a name or a number. Any other text selects the default."""
    monkeypatch.setenv(logs.ENV_LEVEL, text)

    assert logs.level_from_environment() == level


def run_program(configure: str) -> str:
    program = f"import logging\nfrom flowcluster import flow\n@flow\ndef quiet(): pass\n{configure}\nquiet()\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.processes
def test_handler_is_installed_only_when_the_application_has_none() -> None:
    """The logging of an application keeps its format and gets each line once."""
    alone = run_program("")
    configured = run_program("logging.basicConfig(format='MINE %(message)s', level='INFO')")
    later = run_program("quiet(); logging.basicConfig(format='MINE %(message)s', level='INFO')")

    assert " | INFO    | flowcluster.engine - Created flow run '" in alone
    assert [line[:5] for line in configured.splitlines()] == ["MINE "] * 3
    assert ["MINE" in line for line in later.splitlines()] == [False] * 3 + [True] * 3


DICT_CONFIG = """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(levelname)s %(name)s %(message)s"}},
    "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine"}},
    CONFIG
})
"""

FLOW = """
import logging
from flowcluster import flow, get_run_logger
@flow
def speaks():
    get_run_logger().info("low")
    get_run_logger().warning("high")
"""


def root_at(level: str) -> str:
    return DICT_CONFIG.replace("CONFIG", f'"root": {{"level": "{level}", "handlers": ["mine"]}}')


def own_at(level: str) -> str:
    return DICT_CONFIG.replace(
        "CONFIG", f'"loggers": {{"flowcluster": {{"level": "{level}", "handlers": ["mine"], "propagate": False}}}}'
    )


BASIC = "logging.basicConfig(format='MINE %(levelname)s %(name)s %(message)s', level='LEVEL')\n"


def texts(program: str, **environment: str) -> list[str]:
    """Return levels and texts of the log lines of a program, in the format of the application or of the SDK."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    lines = [line for line in done.stderr.splitlines() if line.endswith(("low", "high"))]
    return [f"{line.split()[0]} {line.split()[-1]}" if line.startswith("MINE") else line[-4:] for line in lines]


@pytest.mark.processes
@pytest.mark.parametrize("at", [root_at, own_at, lambda level: "import logging\n" + BASIC.replace("LEVEL", level)])
def test_level_of_the_application_holds_before_and_after_the_import(at: Any) -> None:
    for wanted, level in ((["MINE high"], "WARNING"), (["MINE low", "MINE high"], "INFO")):
        assert texts(at(level) + FLOW + "speaks()") == wanted
        assert texts(FLOW + at(level) + "speaks()") == wanted


@pytest.mark.processes
def test_application_that_configures_logging_later_gets_its_level() -> None:
    assert texts(FLOW + "speaks()" + root_at("WARNING") + "speaks()") == [" low", "high", "MINE high"]
    assert texts(FLOW + "speaks()\n" + BASIC.replace("LEVEL", "WARNING") + "speaks()") == [" low", "high", "MINE high"]


@pytest.mark.processes
def test_level_that_the_application_sets_after_the_sdk_holds_when_it_is_the_same() -> None:
    same = "import logging\nlogging.getLogger('flowcluster').setLevel('INFO')\n"

    later = FLOW + "speaks()\n" + same + BASIC.replace("LEVEL", "WARNING") + "speaks()"
    assert texts(later) == [" low", "high", "MINE low", "MINE high"]


@pytest.mark.processes
def test_flow_that_configures_logging_keeps_its_logger() -> None:
    within = FLOW.replace("def speaks():", f"def speaks():\n    exec({root_at('WARNING')!r})")

    assert texts(within + "speaks()") == ["MINE high"]


@pytest.mark.processes
def test_logger_from_before_a_flow_configures_logging_shows_lines() -> None:
    within = FLOW.replace("def speaks():", "def speaks():\n    log = get_run_logger()")
    within = within.replace("    get_run_logger().warning", f"    exec({root_at('WARNING')!r})\n    log.warning")

    assert texts(within + "speaks()") == [" low", "MINE high"]


@pytest.mark.processes
def test_level_of_the_environment_holds_for_the_format_of_the_application() -> None:
    given = {logs.ENV_LEVEL: "INFO"}

    assert texts(FLOW + BASIC.replace("LEVEL", "WARNING") + "speaks()", **given) == ["MINE low", "MINE high"]


@pytest.mark.processes
def test_worker_sends_lines_with_any_logging_configuration_of_its_process() -> None:
    program = """
import logging
logging.basicConfig(level="WARNING")
from flowcluster._output import logs
logs.forward(logs.ForwardHandler(print), logging.INFO, ())
print(logs.task_runs.isEnabledFor(logging.INFO))
logs.configure()
print(logs.task_runs.isEnabledFor(logging.INFO))
"""

    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["True", "True"]


#: Changes that code of tasks makes to the logging of a worker.
CONFIGURATIONS = (
    "logging.config.dictConfig({'version': 1})",
    "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False})",
    "logging.config.dictConfig({'version': 1, 'loggers': {'flowcluster': {'level': 'ERROR'}}})",
    "logging.config.dictConfig({'version': 1, 'handlers': {'mine': {'class': 'logging.StreamHandler'}}, "
    "'root': {'level': 'ERROR', 'handlers': ['mine']}})",
    "logging.basicConfig(level='ERROR', force=True)",
    "logging.disable()",
    "logging.getLogger('flowcluster').handlers.clear()",
    "logging.getLogger('flowcluster').setLevel('ERROR')",
)


@pytest.mark.processes
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_worker_sends_lines_after_code_of_a_task_configures_logging(configuration: str) -> None:
    """The lines come from loggers from before and after, from the engine, and from a flow that the task calls."""
    program = f"""
import logging.config
from flowcluster import flow, get_run_logger
from flowcluster._output import logs
handler = logs.ForwardHandler(lambda topic, record: print(record["msg"]))
logs.forward(handler, logging.INFO, ())
to = logs.sent_to("driver")
before = logs.flow_logger("run", "flow", **to)
before.info("first")
{configuration}
before.info("from before")
logs.task_runs.info("engine", extra=to)
logs.configure()  # as at the start of a flow
logs.flow_logger("run", "flow", **to).info("from after")
print(logs.task_runs.getEffectiveLevel())
logs.forward(handler, logging.INFO, ())  # as at the start of the next task
before.info("in the next task")
"""
    done = subprocess.run([sys.executable, "-c", program], text=True, check=True, capture_output=True)

    assert done.stdout.split("\n")[:-1] == ["first", "from before", "engine", "from after", "20", "in the next task"]


class Thing:
    def __str__(self) -> str:
        return "a thing"


class Broken:
    def __str__(self) -> str:
        raise OSError("no text")


def test_record_is_sent_with_its_plain_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """The driver gets text, names, traceback and other attributes of a worker's record, and objects as their text."""
    caplog.set_level(logging.INFO, "flowcluster")
    try:
        raise KeyError("k")
    except KeyError:
        made = record("greeting %s", "hi", task_run_name="t-0", steps=[1, {"a": (2,)}], thing=Thing(), broken=Broken())
        made.exc_info = sys.exc_info()
    data = logs.to_dict(made)
    logs.replay(data)
    arrived = caplog.records[-1]

    assert json.loads(json.dumps(data)) == data
    assert vars(arrived)["steps"] == [1, {"a": [2]}]
    assert (vars(arrived)["thing"], vars(arrived)["broken"]) == ("a thing", "<Broken>")
    assert (arrived.getMessage(), vars(arrived)["task_run_name"]) == ("greeting hi", "t-0")
    assert "KeyError" in (arrived.exc_text or "")


def test_record_is_sent_with_text_that_utf_8_cannot_encode() -> None:
    name = b"name\xe9".decode("utf-8", "surrogateescape")
    try:
        raise FileNotFoundError(name)
    except FileNotFoundError:
        made = record("read %s", name, file=name, files=[name, {name: name}])
        made.exc_info = sys.exc_info()
    data = logs.to_dict(made)

    json.dumps(data, ensure_ascii=False).encode()
    assert (data["msg"], data["file"], data["files"]) == (
        "read name\\udce9",
        "name\\udce9",
        ["name\\udce9", {"name\\udce9": "name\\udce9"}],
    )
    assert "name\\udce9" in data["exc_text"]


def test_driver_adds_source_lines_to_a_traceback_when_the_worker_has_no_file(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The driver adds the line of code when only it has the file of a frame. Lines from the worker stay."""
    caplog.set_level(logging.INFO, "flowcluster")
    script = tmp_path / "script.py"
    script.write_text("def fail():\n    raise ValueError('boom')\n")
    bare = f'  File "{script}", line 2, in fail\n'
    from_worker = f"""Traceback (most recent call last):
  File "{script}", line 1, in <module>
    as the worker read it
  File "/no/such/file.py", line 7, in work
{bare}ValueError: boom"""
    logs.replay(vars(record(exc_text=from_worker)))

    assert caplog.records[-1].exc_text == from_worker.replace(bare, f"{bare}    raise ValueError('boom')\n")


def test_worker_sends_only_lines_of_task_runs() -> None:
    """The worker sends records of at least the run's level to the topic of the run. Others stay on the worker."""
    sent: list[tuple[str, str]] = []
    handler = logs.ForwardHandler(lambda topic, data: sent.append((topic, data["msg"])))
    payload = TaskPayload(TaskSpec.of(print, {}), "a-b", "f", context.PROCESS, logging.INFO)
    payload.topic = "mine"
    run = context.TaskContext(payload, context.RunInfo("t-0"), None)
    token = context.current.set(run)
    try:
        low = record("low")
        low.levelno = logging.DEBUG
        for made in (record("in the run"), low):
            handler.handle(made)
    finally:
        context.current.reset(token)
    handler.handle(record("of a thread", flowcluster_topic="mine"))
    handler.handle(record("without a run"))

    assert sent == [("mine", "in the run"), ("mine", "of a thread")]


def test_line_that_cannot_be_sent_stays_on_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not mark a record as sent when the driver did not get it."""

    def broken(topic: str, data: dict[str, Any]) -> None:
        raise OSError("gone")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    made = record("hi", flowcluster_topic="mine")
    logs.ForwardHandler(broken).handle(made)

    assert not hasattr(made, logs._SENT)

"""Errors that a user can fix: each is one sentence with the remedy."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flowcluster import task
from flowcluster._output import logs
from flowcluster.clusters.main_guard import starts_local_processes
from flowcluster.context import RunInfo
from flowcluster.engine.task_execution import execute_task
from flowcluster.errors import ClusterNotStarted
from flowcluster.runners import arguments, worker_body
from flowcluster.runners.base import TaskCall, TaskPayload
from flowcluster.runners.unpicklable import culprit
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

LOCK = threading.Lock()


class Store:
    def __init__(self) -> None:
        self.parts = {"connection": threading.Lock()}

    def read(self) -> Any:
        return self.parts


STORE = Store()


@pytest.mark.parametrize(
    ("make", "module", "extra"), [(DaskTaskRunner, "distributed", "dask"), (RayTaskRunner, "ray", "ray")]
)
def test_missing_package_is_named_with_what_to_install(
    make: Any, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    runner = make().duplicate()

    try:
        with pytest.raises(
            ClusterNotStarted, match=rf"'{module}', .* pip install \"flowcluster\[{extra}\]\""
        ) as caught:
            runner.open()
    finally:
        runner.close()
    assert caught.value.__cause__ is None


@pytest.mark.processes
@pytest.mark.parametrize(
    ("runner", "name"), [("DaskTaskRunner", "dask"), ("DaskTaskRunner", "distributed"), ("RayTaskRunner", "ray")]
)
def test_file_with_the_name_of_a_package_is_named(runner: str, name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    program = f"from flowcluster.task_runners import {runner}\n{runner}().duplicate().open()"

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert f"{runner} needs the package '{name}', and Python imports the file {tmp_path / name}.py" in done.stderr


@task
def use_missing() -> None:
    import missing.part  # type: ignore[import-not-found]  # noqa: F401 - the test's subject


class MissingArgument:
    def __reduce__(self) -> Any:
        return __import__, ("missing.part",)


@task
def ignore(value: object) -> None:
    pass


@pytest.mark.parametrize(("used", "values"), [(use_missing, ()), (ignore, (MissingArgument(),))])
def test_module_that_a_worker_lacks_is_reported_with_the_remedy(used: Any, values: tuple[Any, ...]) -> None:
    payload = TaskPayload(used.spec, "run", "flow", "another process", 20)
    payload.topic = "topic"
    call = TaskCall(execute_task, payload, "key", RunInfo("run-0"), values, {}, [], lambda: None)
    handler = logs.ForwardHandler(lambda *_: None)

    failure = worker_body.run_task(
        arguments.dump_code(call), call.info, arguments.dump(call), tuple, lambda: handler, lambda place: b""
    )

    error = failure.state().exception()
    assert type(error) is ModuleNotFoundError
    assert error.__notes__[0].startswith("Install 'missing' where the workers run.")


CALL = "from flowcluster.clusters.main_guard import require_guard\ndef go(): require_guard('It')\n"

SCRIPTS = [
    ("go()", 3),
    ("import asyncio\nasync def main(): go()\nasyncio.run(main())", 5),
    ("if True:\n    go()", 4),
    ("def main():\n    print(__name__)\n    go()\nmain()", 6),
    ("if __name__ == '__main__':\n    go()", None),
    ("if '__main__' == __name__: go()", None),
    ("__name__ == '__main__' and go()", None),
    ("def main():\n    go()\nif __name__ == '__main__':\n    main()", None),
    ("import sys\nif __name__ != '__main__': sys.exit()\ngo()", None),
]


@pytest.mark.processes
@pytest.mark.parametrize(("code", "line"), SCRIPTS)
def test_script_without_a_guard_is_refused_with_the_line(code: str, line: int | None, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(CALL + code)

    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)

    if line is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert f"It starts processes that import {file} again, and line {line} would start" in done.stderr
        assert 'under: if __name__ == "__main__":' in done.stderr


@pytest.mark.processes
def test_script_from_standard_input_needs_no_guard_and_no_file() -> None:
    script = CALL + "go()\nimport multiprocessing.spawn\nprint(multiprocessing.spawn.get_preparation_data('x').keys())"

    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=True)

    assert "main_path" not in done.stdout
    assert "init_main" not in done.stdout


def test_only_processes_need_a_guard() -> None:
    distributed = pytest.importorskip("distributed")

    assert starts_local_processes(distributed.LocalCluster, {})
    assert not starts_local_processes(distributed.LocalCluster, {"processes": False})
    assert not starts_local_processes(distributed.SpecCluster, {})


def uses_lock() -> Any:
    return LOCK


def uses_helper() -> Any:
    return [uses_lock() for _ in range(2)]


def uses_store() -> Any:
    return STORE.read()


def with_default(lock: Any = LOCK) -> Any:
    return lock


def around() -> Any:
    lock = threading.Lock()
    return lambda: lock


helper_task = task(uses_lock)


def uses_task() -> Any:
    return helper_task()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (uses_lock, "the global 'LOCK' of type 'lock'"),
        (uses_helper, "the global 'uses_lock' and there the global 'LOCK' of type 'lock'"),
        (uses_task, "the global 'helper_task' and there the global 'LOCK' of type 'lock'"),
        (
            uses_store,
            "the global 'STORE' and there the attribute 'parts' and there the item 'connection' of type 'lock'",
        ),
        (with_default, "a default of type 'lock'"),
        (around(), "the variable 'lock' of the function around it of type 'lock'"),
        (functools.partial(print, LOCK), "argument 0 of the partial of type 'lock'"),
        (
            STORE.read,
            "the object of the method 'read' and there the attribute 'parts' and there the item 'connection' of type "
            "'lock'",
        ),
        (len, None),
    ],
)
def test_object_that_cannot_be_sent_is_found_in_a_function(
    function: Any, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cloudpickle

    from flowcluster._util import pickling
    from flowcluster.project import by_value, modules

    monkeypatch.setattr(modules, "_names", frozenset())  # as before any other test
    monkeypatch.setattr(by_value, "scripts", {__name__})
    pickling.dumps(None)  # this module is registered from here on
    try:
        assert culprit(function) == text
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_task_that_cannot_be_sent_is_refused_with_the_object() -> None:
    lock = threading.Lock()

    @task
    def locked() -> Any:
        return lock

    call = TaskCall(print, TaskPayload(locked.spec, "run", "flow", "", 20), "", RunInfo("run"), (), {}, [], print)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"Task 'locked' cannot be sent to a worker: .* variable 'lock' .*\. Make it"):
        arguments.dump_code(call)

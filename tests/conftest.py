"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest

# Started in the background of a shell, the tests would ignore Ctrl-C, and so would every process that they start: those
# that are to be interrupted, and Ray's workers, whose tasks Ray cancels in the same way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FailuresAtOnce:
    """Name a failed test when it has failed: a run of all tests takes long, and pytest explains failures at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\nFAILED at {report.when}: {report.nodeid}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files (tests/support/golden.py)."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden objects with what is built")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FailuresAtOnce(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what UTF-8 cannot encode in captured output: pytest-xdist does not send it, and ends the process."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report

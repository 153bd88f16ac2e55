"""Each test once: `--passed FILE` notes which tests passed, `--except FILE` leaves those out of a later run.

`make check` runs what `make test` left: slow tests, those that need an extra or another program, doctests. It is the
last to look, so a test that is skipped there because something is not installed is a failure.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOT_INSTALLED = re.compile(r"could not import|install")


def pytest_addoption(parser):
    group = parser.getgroup("once")
    group.addoption("--passed", metavar="FILE", type=Path, help="write the names of the tests that pass")
    group.addoption("--except", dest="but", metavar="FILE", type=Path, help="leave out the tests named there")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist report to one that has none
        config.pluginmanager.register(Reports(config.option.passed, config.option.but))


def pytest_collection_modifyitems(config, items):
    if config.option.but is None:
        return
    passed = set(json.loads(config.option.but.read_text("utf-8")))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


class Reports:
    """What all workers report."""

    def __init__(self, file, last):
        self.file, self.last = file, last is not None
        self.passed, self.missing = [], []

    def pytest_collectreport(self, report):
        self.skip(report)

    def pytest_runtest_logreport(self, report):
        self.skip(report)
        if report.when == "call" and (report.passed or hasattr(report, "wasxfail")):
            self.passed.append(report.nodeid)

    def skip(self, report):
        if report.skipped and not hasattr(report, "wasxfail") and NOT_INSTALLED.search(report.longrepr[2]):
            self.missing.append(f"{report.nodeid}: {report.longrepr[2]}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if self.last and self.missing and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif self.file is not None and exitstatus == pytest.ExitCode.OK:
            self.file.write_text(json.dumps(sorted(self.passed), indent=0), "utf-8")

    def pytest_terminal_summary(self, terminalreporter):
        if self.last:
            for line in sorted(self.missing):
                terminalreporter.write_line(f"NOT INSTALLED {line}", red=True)

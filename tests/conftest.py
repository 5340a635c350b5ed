"""For all tests: the option ``--long``; servers whose passwords cost little; unannounced errors fail their test."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest

from tests import depth


def pytest_addoption(parser: pytest.Parser) -> None:
    depth.add_option(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    depth.begin(config)
    _take_signals()
    # Thousands of logins, each with two tenths of a second of scrypt, would be half of the tests' time.
    os.environ.setdefault("OAIOFS_SERVER_PASSWORD_COST", "10")


def _take_signals() -> None:
    """Started in the background of a script this process ignores these, and so would every program that tests start."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def long_run() -> bool:
    """Whether the long versions were asked for."""
    return depth.is_long()


@pytest.fixture(autouse=True)
def _no_unexpected_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A bug that is caught at an edge and only logged is a bug all the same."""
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    errors = [
        record.getMessage()
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.name.startswith("oaiofs") and record.levelno >= logging.ERROR
    ]
    assert not errors, errors

"""A real oaio server on loopback for tests: the fixture ``oaio_server`` (one per test session), and ``ServerKit``.

Import the fixture where it is needed: ``from tests.serverkit import ServerKit, oaio_server``. The server is shared, so
each test adds its own users (``fresh_user``) and works below its own folder of the storage host.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from oaiofs.server import process, service

#: Seconds that a plain client waits for an answer: long on a busy machine, and less than the server may hold one.
PATIENCE = 30.0

_numbers = itertools.count(1)


class ServerKit:
    """A running server at *url* with its data directory *data* and process id *pid*."""

    def __init__(self, url: str, data: Path, pid: int) -> None:
        self.url = url
        self.data = data
        self.pid = pid

    @property
    def host(self) -> str:
        """HOST:PORT, as clients take it."""
        return self.url.removeprefix("http://")

    def add_user(self, name: str, password: str, superuser: bool = False) -> None:
        service.add_user(self.data, name, password, superuser)

    def fresh_user(self, stem: str = "user", superuser: bool = False) -> tuple[str, str]:
        """A new user's name, used by no other test, and password."""
        name = f"{stem}{next(_numbers)}"
        password = f"secret of {name}"
        self.add_user(name, password, superuser)
        return name, password


@contextlib.contextmanager
def serving(data: Path, port: int = 0, arguments: Sequence[str] = ()) -> Iterator[ServerKit]:
    """A server on *data* for as long as the block runs; it answers when the block begins."""
    child = process.spawn(data, port, arguments)
    try:
        child.wait_ready()
        yield ServerKit(child.url, data, child.process.pid)
    finally:
        child.stop(PATIENCE)
    assert child.process.returncode == 0, "the server did not end in good order"


@pytest.fixture(scope="session")
def oaio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerKit]:
    """The test session's server."""
    with serving(tmp_path_factory.mktemp("oaio-server")) as kit:
        yield kit

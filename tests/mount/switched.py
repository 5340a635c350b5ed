"""A server that can be gone, come back, and hang, with its fixture: import both, the fixture named in ``__all__``."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serverkit import serving


class SwitchedServer:
    """A server of the test's own that can be off, on again at the same address, or hang."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._running = contextlib.ExitStack()
        self._held = contextlib.ExitStack()
        self.kit = self._running.enter_context(serving(data))
        self.port = int(self.kit.url.rpartition(":")[2])

    def end(self) -> None:
        self._running.close()
        self._held.close()

    def off(self) -> None:
        """Nobody listens at the port, and nobody else can take it."""
        self._running.close()
        held = self._held.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", self.port))

    def on(self) -> None:
        self.kit = self._running.enter_context(serving(self._data, self.port))
        self._held.close()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The server takes connections and never answers."""
        os.kill(self.kit.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.kit.pid, signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SwitchedServer]:
    switched = SwitchedServer(tmp_path / "data")
    try:
        yield switched
    finally:
        switched.end()

"""A fault proxy that also writes down what each request and its answer cost: ``exchanges``.

Bytes are those of HTTP, heads and bodies; not those of TCP and TLS. Must not know who asks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import trio

from tests.faultproxy import Message, ThreadedProxy

#: Signing in, once for each run of a client: to the oaio server, and with what it hands out to the storage host.
_SESSION = ("/api/login/", "/api/logout/", "/api/csh_args/", "/token", "/api/v2/mounts")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; *up* and *down* in bytes, times in seconds of the monotonic clock."""

    method: str
    path: str
    status: int
    up: int
    down: int
    began: float
    ended: float

    @property
    def is_session(self) -> bool:
        return self.path.rstrip("/") in {one.rstrip("/") for one in _SESSION} or self.path.startswith("/api/csh_args/")

    @property
    def announces(self) -> bool:
        """Whether with this the oaio server has the new version."""
        return self.method == "POST" and self.path in ("/api/register/", "/api/upload/") and self.status < 300


@dataclass(frozen=True, slots=True)
class Traffic:
    """What several exchanges cost together; signing in is counted in *session* alone."""

    requests: int
    up: int
    down: int
    session: int

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Traffic:
        every = list(exchanges)
        counted = [one for one in every if not one.is_session]
        up, down = sum(one.up for one in counted), sum(one.down for one in counted)
        return cls(len(counted), up, down, len(every) - len(counted))


class CountingProxy(ThreadedProxy):
    """*exchanges* are those that came to an end, in that order: a listing that is held counts when it is answered."""

    def __init__(self, target: str, seed: int = 0) -> None:
        super().__init__(target, seed, holds=True)
        self.exchanges: list[Exchange] = []

    async def _answer(self, request: Message, client: trio.SocketStream) -> bytes:
        began, up = time.monotonic(), len(request.encoded())
        method, target, _ = request.first.split(" ", 2)
        answer = await super()._answer(request, client)
        status = int(answer[:20].split(b" ")[1])
        path = unquote(urlsplit(target).path)
        self.exchanges.append(Exchange(method, path, status, up, len(answer), began, time.monotonic()))
        return answer

    def since(self, begun: int) -> Sequence[Exchange]:
        """The exchanges after the first *begun* ones."""
        return self.exchanges[begun:]


@contextlib.contextmanager
def counting_proxy(target: str, latency: float = 0.0) -> Iterator[CountingProxy]:
    """A proxy in a thread of its own; each answer takes *latency* seconds."""
    proxy = CountingProxy(target)
    if latency:
        proxy.add("latency", seconds=latency)
    proxy.begin()
    try:
        yield proxy
    finally:
        proxy.end()

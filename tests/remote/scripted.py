"""An HTTP server on loopback that does what a test tells it, down to breaking off in the middle of an answer."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trio


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer. *raw* is sent as it is, then the connection is closed; *endless* repeats the body for ever.

    *drip* sends *raw* and then the body again and again with that many seconds before each.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    endless: bool = False
    drip: float = 0.0


Handler = Callable[[Request], Reply]


def json_reply(content: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **named})


def one_after_the_other(*replies: Reply) -> Handler:
    """Each request gets the next reply; one too many fails the test."""
    rest: Iterator[Reply] = iter(replies)
    return lambda request: next(rest)


class ScriptedServer:
    """*handler* may be changed at any time; *requests* are all that came."""

    def __init__(self, handler: Handler, certificate: Path | None = None) -> None:
        self.handler = handler
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def seen(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def _serve(self, socket: trio.SocketStream) -> None:
        self.connections += 1
        stream = trio.SSLStream(socket, self._tls, server_side=True, https_compatible=True) if self._tls else socket
        received = _Received(stream)
        try:
            while (request := await received.request()) is not None:
                self.requests.append(request)
                if not await _answer(stream, self.handler(request)):
                    return
        except trio.BrokenResourceError:
            pass  # clients leave as they like
        finally:
            await trio.aclose_forcefully(stream)


class _Received:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def _more(self) -> bool:
        chunk = await self._stream.receive_some(65536)
        self._buffer += chunk
        return bool(chunk)

    async def request(self) -> Request | None:
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return None
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        first, *lines = head.decode("utf-8").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        self._buffer = bytearray(rest)
        while len(self._buffer) < length:
            if not await self._more():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body)


async def _answer(stream: trio.abc.Stream, reply: Reply) -> bool:
    if reply.raw is not None:
        await stream.send_all(reply.raw)
        while reply.drip:
            await trio.sleep(reply.drip)
            await stream.send_all(reply.body)
        return False
    headers = dict(reply.headers)
    if reply.endless:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(reply.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await stream.send_all(f"HTTP/1.1 {reply.status} Some Reason\r\n{lines}\r\n".encode())
    while reply.endless:
        await stream.send_all(b"%x\r\n%s\r\n" % (len(reply.body), reply.body))
    await stream.send_all(reply.body)
    return True


@asynccontextmanager
async def scripted(handler: Handler, certificate: Path | None = None) -> AsyncIterator[ScriptedServer]:
    """A server for as long as the block runs, with TLS where there is a *certificate*."""
    server = ScriptedServer(handler, certificate)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server._serve, listeners)
        yield server
        nursery.cancel_scope.cancel()

"""A proxy in front of a real server that spoils what passes, as told by data: the outside at its worst, over real HTTP.

``Fault`` says what happens to which requests and how often; ``FaultProxy.injected`` counts what did. One seed, one
course: of a fault with a chance the proxy's own dice decide. ``serving_proxy`` runs it in the test's trio loop,
``proxy_in_thread`` beside a test that has none. ``gone`` closes the port itself, so that connections are refused.

Requests are taken whole and passed on over a connection of their own; answers likewise.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Literal, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import trio

from oaiofs.core import stamps

T = TypeVar("T")

Kind = Literal[
    "latency",  # the answer takes `seconds`
    "held",  # no more than `after` bytes of the answer's body come before it is `released`
    "cut_before",  # the connection ends instead of an answer; the server never hears of it
    "half_sent",  # the server gets half of the request's body
    "cut_held",  # a request that the server holds ends with its connection after `seconds`
    "gateway",  # likewise, and `status` is answered
    "lost",  # the server does it, and the connection ends before its answer
    "cut_head",  # likewise, in the middle of the answer's head
    "cut_body",  # likewise, in the middle of its body
    "long",  # the head promises more bytes than come
    "short",  # the head promises fewer bytes than the server sent, and so many come
    "flipped",  # a byte in the middle of the body is another one
    "status",  # `status` with `headers` instead of the server's answer; the server never hears of it
    "status_after",  # likewise, after the server has done it
    "page",  # a web page with status 200; the server never hears of it
    "unranged",  # the server is asked for all of a file instead of a part
    "expired",  # the session's cookie, or token, does not reach the server
    "empty",  # a listing of nothing
    "partial",  # every second entry of a listing
    "duplicated",  # each entry of a listing twice
    "lie",  # a stored file's record tells another size and hash
    "skew",  # the server's clock is `seconds` ahead
]
PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"
_SESSION = ("cookie", "authorization")


@dataclass
class Fault:
    """What happens to requests of *method* and *path* (patterns), *times* times or for ever, to so many of them.

    *whole*: only to those that ask for no part of a file.
    """

    kind: Kind
    method: str = "*"
    path: str = "*"
    times: float = float("inf")
    chance: float = 1.0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    after: int = 0
    whole: bool = False
    released: trio.Event = field(default_factory=trio.Event)


@dataclass
class Message:
    """A request or an answer: *first* line, headers as they came, whole body."""

    first: str
    headers: list[tuple[str, str]]
    body: bytes

    def without(self, *names: str) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.headers if name.lower() not in names]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def encoded(self, length: int | None = None) -> bytes:
        size = len(self.body) if length is None else length
        headers = [*self.without("content-length", "transfer-encoding"), ("Content-Length", str(size))]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"{self.first}\r\n{head}\r\n".encode("latin-1") + self.body

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])


class _Cut(Exception):
    """The client's connection ends after these bytes."""

    def __init__(self, sent: bytes = b"") -> None:
        super().__init__()
        self.sent = sent


class FaultProxy:
    """*faults* may be changed at any time.

    *seen* are method and path of all requests, *gets* file and range of reads.

    Unless it *holds*, no request is held by the server behind: an outage begins with the next look at the server then,
    which comes soon.
    """

    def __init__(self, target: str, seed: int = 0, port: int = 0, *, holds: bool = False) -> None:
        self.target = target.removeprefix("http://")
        self.faults: list[Fault] = []
        self.injected: Counter[str] = Counter()
        self.seen: list[str] = []
        self.gets: list[tuple[str, str]] = []
        self.port = port
        self.holds = holds
        self._dice = random.Random(seed)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def add(self, kind: Kind, method: str = "*", path: str = "*", **how: object) -> Fault:
        fault = Fault(kind, method, path, **how)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def _faults_for(self, request: Message) -> dict[str, Fault]:
        """Those that hit this request, by kind."""
        method, target, _ = request.first.split(" ", 2)
        path = unquote(urlsplit(target).path)
        self.seen.append(f"{method} {path}")
        part = request.header("range")
        if path.endswith("/files/get"):
            self.gets.append((parse_qs(urlsplit(target).query)["path"][0].rpartition("/")[2], part))
        hit: dict[str, Fault] = {}
        for fault in self.faults:
            fits = fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path) and not (fault.whole and part)
            if fits and fault.times > 0 and (fault.chance >= 1 or self._dice.random() < fault.chance):
                fault.times -= 1
                hit[fault.kind] = fault
        return hit

    async def listen(self, nursery: trio.Nursery) -> None:
        """Answer at a port of its own for as long as the nursery's tasks run."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, self.serve, listeners)

    # -- one request ---------------------------------------------------------------------------------------------

    async def serve(self, client: trio.SocketStream) -> None:
        received = _Received(client)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            while (request := await received.message(to_the_end=False)) is not None:
                try:
                    await client.send_all(await self._answer(request, client))
                except _Cut as cut:
                    await client.send_all(cut.sent)
                    break
        await trio.aclose_forcefully(client)

    async def _answer(self, request: Message, client: trio.SocketStream) -> bytes:
        """What is still to be sent to the client."""
        hit = self._faults_for(request)
        if not self.holds:
            request.headers = request.without("prefer")
        if "latency" in hit:
            self.injected["latency"] += 1
            await trio.sleep(hit["latency"].seconds)
        for kind in ("cut_before", "half_sent", "status", "page"):
            if kind in hit:
                return await self._instead(hit[kind], request)
        if "expired" in hit and any(request.header(name) for name in _SESSION):
            self.injected["expired"] += 1
            request.headers = request.without(*_SESSION)
        impatient = hit.get("cut_held") or hit.get("gateway") if request.header("prefer") else None
        if "unranged" in hit and request.header("range"):
            self.injected["unranged"] += 1
            request.headers = request.without("range")
        with trio.move_on_after(impatient.seconds if impatient else float("inf")):
            answer = await self._passed_on(request)
            impatient = None
        if impatient:
            self.injected[impatient.kind] += 1
            if impatient.kind == "cut_held":
                raise _Cut
            return _made(impatient).encoded()
        for kind, fault in hit.items():
            answer = self._spoilt(kind, fault, answer)
        encoded = answer.encoded()
        if "held" in hit:
            self.injected["held"] += 1
            sent = encoded.index(b"\r\n\r\n") + 4 + hit["held"].after
            await client.send_all(encoded[:sent])
            await hit["held"].released.wait()
            return encoded[sent:]
        return encoded

    async def _instead(self, fault: Fault, request: Message) -> bytes:
        self.injected[fault.kind if fault.kind != "status" else f"status {fault.status}"] += 1
        if fault.kind == "half_sent":
            length = len(request.body)
            request.body = request.body[: length // 2]
            await self._passed_on(request, length=length)
        if fault.kind in ("cut_before", "half_sent"):
            raise _Cut
        return _made(fault).encoded()

    async def _passed_on(self, request: Message, length: int | None = None) -> Message:
        """The server's answer; one without a body where only a part of the request's was sent."""
        host, _, port = self.target.partition(":")
        request.headers = [*request.without("connection"), ("Connection", "close")]
        try:
            async with await trio.open_tcp_stream(host, int(port)) as server:
                await server.send_all(request.encoded(length))
                if length is not None:
                    await server.send_eof()
                answer = await _Received(server).message(to_the_end=True)
        except OSError:
            raise _Cut from None
        if answer is None:
            raise _Cut
        answer.headers = answer.without("connection")
        return answer

    def _spoilt(self, kind: str, fault: Fault, answer: Message) -> Message:
        """What is left of the server's *answer*."""
        body, half = answer.body, len(answer.body) // 2
        if kind in ("lost", "cut_head", "cut_body", "long") or (kind in ("short", "flipped") and body):
            self.injected[kind] += 1
        match kind:
            case "lost":
                raise _Cut
            case "cut_head":
                raise _Cut(answer.encoded().partition(b"\r\n\r\n")[0][:-5])
            case "cut_body":
                raise _Cut(answer.encoded()[: -(len(body) - half) or None])
            case "long":
                raise _Cut(answer.encoded(len(body) + 7))
            case "short":
                answer.body = body[:half]
            case "flipped" if body:
                answer.body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
            case "status_after":
                self.injected[f"status {fault.status} after"] += 1
                return _made(fault)
            case "empty" | "partial" | "duplicated" | "skew" | "lie" if answer.status == 200:
                changed = _changed(kind, body, fault.seconds)
                if changed != body:
                    self.injected[kind] += 1
                    answer.body, answer.headers = changed, answer.without("etag")
        return answer


def _made(fault: Fault) -> Message:
    """An answer that the server never gave."""
    if fault.kind == "page":
        return Message("HTTP/1.1 200 OK", [("Content-Type", "text/html")], PAGE)
    content = json.dumps({"error": f"so says the proxy ({fault.status})"}).encode()
    return Message(f"HTTP/1.1 {fault.status} As Told", [*fault.headers.items()], content)


def _changed(kind: str, body: bytes, seconds: float) -> bytes:
    if kind == "skew":
        return _skewed(body, seconds)
    return _lied(body) if kind == "lie" else _listing(kind, body)


def _lied(body: bytes) -> bytes:
    with contextlib.suppress(ValueError, TypeError):
        content = json.loads(body)
        return json.dumps({**content, "size": content.get("size", 0) + 1, "hash": "0" * 32}).encode()
    return body


def _listing(kind: str, body: bytes) -> bytes:
    """A listing of the server (a JSON array) or of the storage (a line for each file) with other entries."""
    content = None
    with contextlib.suppress(ValueError):
        content = json.loads(body)
    if isinstance(content, list):
        return json.dumps(_entries(kind, content)).encode()
    lines = body.splitlines(keepends=True)
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        files = [line for line in lines if json.loads(line)["file"]["type"] != "dir"]
        return b"".join([*(line for line in lines if line not in files), *_entries(kind, files)])
    return body


def _entries(kind: str, entries: list[T]) -> list[T]:
    return {"empty": [], "partial": entries[::2], "duplicated": [*entries, *entries]}[kind]


def _skewed(body: bytes, seconds: float) -> bytes:
    with contextlib.suppress(ValueError):
        content = json.loads(body)
        stamp = stamps.parse(content.get("current_stamp")) if isinstance(content, dict) else None
        if stamp is not None:
            moved = stamps.make(stamps.to_datetime(stamp) + timedelta(seconds=seconds))
            return json.dumps({**content, "current_stamp": moved}).encode()
    return body


class _Received:
    """Messages off a stream, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def _more(self) -> bool:
        chunk = await self._stream.receive_some(65536)
        self._buffer += chunk
        return bool(chunk)

    async def message(self, *, to_the_end: bool) -> Message | None:
        """The next message, None where the stream ends before it is whole; *to_the_end* its body ends the stream."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return None
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        message = Message(first, [(name, value) for name, _, value in (line.partition(": ") for line in lines)], b"")
        self._buffer = bytearray(rest)
        chunked = message.header("transfer-encoding").lower() == "chunked"
        length = int(message.header("content-length") or 0)
        while to_the_end or len(self._buffer) < length:
            if not await self._more():
                break
        if len(self._buffer) < length:
            return None
        end = len(self._buffer) if to_the_end else length
        body = bytes(self._buffer[:end])
        del self._buffer[:end]
        message.body = _unchunked(body) if chunked else body
        return message


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        number = int(size, 16)
        whole, body = whole + body[:number], body[number + 2 :]
    return whole


# -- how to run it -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving_proxy(target: str, seed: int = 0) -> AsyncIterator[FaultProxy]:
    """A proxy in front of *target* (a URL) for as long as the block runs."""
    proxy = FaultProxy(target, seed)
    async with trio.open_nursery() as nursery:
        await proxy.listen(nursery)
        yield proxy
        nursery.cancel_scope.cancel()


class ThreadedProxy(FaultProxy):
    """A proxy in a thread of its own."""

    def __init__(self, target: str, seed: int = 0, *, holds: bool = False) -> None:
        super().__init__(target, seed, holds=holds)
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    def begin(self, held: socket.socket | None = None) -> None:
        """Serve; at the socket *held*, if there is one."""
        ready = threading.Event()

        async def run() -> None:
            self._token = trio.lowlevel.current_trio_token()
            self._scope = trio.CancelScope()
            with self._scope:
                if held is None:
                    listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
                else:
                    held.listen()
                    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(held))]
                self.port = listeners[0].socket.getsockname()[1]
                ready.set()
                await trio.serve_listeners(self.serve, listeners)

        self._thread = threading.Thread(target=trio.run, args=(run,), name="fault proxy")
        self._thread.start()
        assert ready.wait(60)

    def release(self, fault: Fault) -> None:
        """Let the rest of what is held come."""
        assert self._token is not None
        self._token.run_sync_soon(fault.released.set)

    def end(self) -> None:
        if self._thread is not None and self._token is not None:
            self._token.run_sync_soon(self._scope.cancel)
            self._thread.join()
            self._thread = None

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody listens at the port, and nobody else can take it."""
        self.end()
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", self.port))
        try:
            yield
        finally:
            self.begin(held)


@contextlib.contextmanager
def proxy_in_thread(target: str, seed: int = 0, *, holds: bool = False) -> Iterator[ThreadedProxy]:
    proxy = ThreadedProxy(target, seed, holds=holds)
    proxy.begin()
    try:
        yield proxy
    finally:
        proxy.end()

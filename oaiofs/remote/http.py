"""The shared edge to HTTP: connections, limits, retries, and the one place where foreign errors become ours.

With ``failures``, ``streams`` and ``tls`` the only importer of httpx, whose types go no further. Must not know what is
asked for or answered.

Choices, and why:

* HTTP/1.1 only: the hosts speak it, and transfers are few and large.
* No redirect is followed. Neither host redirects API calls, and a followed one is how credentials leave for a stranger.
* TLS is always verified, with the system's additions (``SSL_CERT_FILE``). Plain http is for loopback, or on demand.
* Proxies are taken from the environment, as users expect, but never for loopback.
* Bodies are asked for unencoded and counted: what can't be compressed can't explode.
* A connection that could not be made is not tried again here: offline is said at once, and ``sync`` returns later.
* httpcore's debug log shows response headers, cookies with them: it is kept quiet whatever the level asked for.
"""

from __future__ import annotations

import logging
import random
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import trio

from .. import errors
from . import jsontext
from .address import is_loopback
from .failures import FOREIGN, error_of, is_web_page, meaning_of, page_error, redirect_error, server_words, status_error
from .retry import RetryPolicy, parse_retry_after
from .streams import SLOWEST, Sending, Translated, Unhurried, Whole, discard
from .tls import ssl_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

__all__ = ["Answer", "Body", "HttpClient", "Incoming", "Surroundings"]

logging.getLogger("httpcore").setLevel(logging.WARNING)

_T = TypeVar("_T")

#: A JSON answer larger than this is none that an honest server sends.
MAX_JSON_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_PARSE_INLINE_BYTES = 32 * 1024

#: Characters of a cookie that may be a secret; shorter ones are in many an innocent sentence.
_SHORTEST_COOKIE = 8
#: So many seconds without a byte are a failure; waiting for a free connection of our own is none of the host.
_SILENCE, _NO_CONNECTION = 30.0, 10.0
#: A whole call with its whole answer, however slowly it drips; larger bodies get more, see ``streams.SLOWEST``.
_CALL_SECONDS = 120.0

_TEMPORARY_STATUS = frozenset({408, 423, 425, 429, 499, 500, 502, 503, 504})


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a client takes from the world around it; tests hand in their own.

    *clock* tells the aware time, *sleep* waits for seconds, *chance* is a random number in [0, 1).
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], Awaitable[object]] = trio.sleep
    chance: Callable[[], float] = random.random
    max_json_bytes: int = MAX_JSON_BYTES
    call_seconds: float = _CALL_SECONDS


class _Failed(Exception):
    """One attempt's failure: what to tell, whether another attempt may help, and how long the server asked to wait."""

    def __init__(self, error: errors.RemoteError, temporary: bool, asked: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.temporary = temporary
        self.asked = asked


@dataclass(frozen=True, slots=True)
class Body:
    """A request body that can be sent again: *open* starts it anew, *length* is its exact number of bytes.

    *arrived* is asked before it is: the answer, where an earlier try turns out to have arrived.
    """

    open: Callable[[], AsyncIterator[bytes]]
    length: int
    content_type: str
    arrived: Callable[[], Awaitable[Answer | None]] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are lower case.

    *middle* is the time half-way between request and answer; *attempts* says how many requests it took: after more
    than one, the effect may have been an earlier one's, whose answer was lost.
    """

    status: int
    #: May hold cookies and tokens, so it is not shown.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    middle: datetime
    attempts: int = 1

    async def json(self) -> Any:
        """The body as JSON, parsed beside the event loop where that takes long. Raises Protocol."""
        return await _off_loop(jsontext.parse, self.body)

    async def json_array(self) -> list[Any | errors.Protocol]:
        """The elements of a JSON array, each one that can't be parsed being an error. Raises Protocol."""
        return await _off_loop(jsontext.parse_array, self.body)

    @property
    def words(self) -> str:
        """What the server says about a refusal, short and printable; '' where it says nothing usable."""
        return server_words(self.body)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer whose body is still coming; *chunks* raises RemoteError when it is cut."""

    status: int
    #: May hold cookies and tokens, so it is not shown.
    headers: Mapping[str, str] = field(repr=False)
    chunks: AsyncIterator[bytes] = field(repr=False)


async def _off_loop(parse: Callable[[bytes], _T], body: bytes) -> _T:
    if len(body) <= _PARSE_INLINE_BYTES:
        return parse(body)
    return await trio.to_thread.run_sync(parse, body)


class HttpClient:
    """Requests to one host, with this module's rules.

    *host* is what messages call it. *secrets* never appear in a message, even where the server sends them back.
    *headers* go along with every request. Cookies are kept for the client's life.
    """

    def __init__(
        self,
        base_url: str,
        *,
        host: str,
        secrets: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        surroundings: Surroundings | None = None,
        max_connections: int = 8,
    ) -> None:
        parts = urlsplit(base_url)
        self.base_url = base_url
        self._host = host
        self._secrets = set(filter(None, secrets))
        self._around = surroundings or Surroundings()
        self._underway = 0
        self._closing = False
        self._client = httpx.AsyncClient(
            http1=True,
            http2=False,
            verify=ssl_context(parts.scheme),
            trust_env=not is_loopback(parts.hostname or ""),
            follow_redirects=False,
            timeout=_timeout(),
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})},
        )

    def __repr__(self) -> str:
        return f"<HttpClient {self.base_url}>"

    def cookie(self, name: str) -> str | None:
        """The newest cookie of that name."""
        values = [cookie.value for cookie in self._client.cookies.jar if cookie.name == name]
        return values[-1] if values else None

    def forget_cookies(self) -> None:
        self._client.cookies.clear()

    async def call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Iterable[int] = (),
        page: bool = False,
        hold: float = 0.0,
    ) -> Answer:
        """Ask for *path* (relative to the base, percent-encoded) and take in the whole answer.

        Tried again by the retry policy: so only for what may be done twice. Any status but 200 to 299 and those in
        *accept* is raised as the RemoteError it means; *what* is the action in a message's words. Bodies of JSON are
        sent from *json*, others from *body*. Unless a *page* is a right answer too, one in place of a success is
        somebody else's (a network to sign in to): Unreachable. The server may be silent for *hold* seconds more than
        others; such a request is not tried again.
        """
        content = None if json is None else await trio.to_thread.run_sync(jsontext.dumped, json)
        seconds = self._around.call_seconds + hold + (0 if body is None else body.length / SLOWEST)

        async def attempt(number: int) -> Answer:
            if number > 1 and body is not None and body.arrived and (known := await body.arrived()):
                return known
            begun = self._around.clock()
            async with self._kept_open():
                with trio.move_on_after(seconds) as scope:
                    sent = None if body is None else replace(body, open=lambda: Unhurried(body.open(), scope))
                    async with self._exchange(method, path, params, content, sent, headers, hold) as response:
                        await self._judge(response, what, accept)
                        answered = await self._whole_body(response, self._around.max_json_bytes)
                        if response.is_success and not page and is_web_page(response.headers, answered):
                            raise _Failed(page_error(self._host, what), temporary=False)
                        middle = begun + (self._around.clock() - begun) / 2
                        return Answer(response.status_code, _plain_headers(response), answered, middle, number)
            raise self._too_slow(what)

        return await self._retried(attempt, most=1 if hold else None)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        what: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Iterable[int] = (),
    ) -> AsyncIterator[Incoming]:
        """Like ``call`` but with the body to be read as it comes. Only getting the answer's head is tried again."""

        async def attempt(_number: int) -> tuple[httpx.Response, AsyncIterator[bytes]]:
            with trio.move_on_after(self._around.call_seconds):
                response = await self._send(method, path, params, None, None, headers)
                chunks = response.aiter_raw()
                try:
                    await self._judge(response, what, accept)
                except BaseException:
                    await discard(response, chunks)
                    raise
                return response, chunks
            raise self._too_slow(what)

        async with self._kept_open():
            response, chunks = await self._retried(attempt)
            try:
                measured = Translated(chunks, self._host, self._around.call_seconds)
                yield Incoming(response.status_code, _plain_headers(response), measured)
            finally:
                await discard(response, chunks)

    async def aclose(self) -> None:
        """Begin no more requests; connections are closed once those that are underway have ended."""
        self._closing = True
        if not self._underway:
            await self._client.aclose()

    @asynccontextmanager
    async def _kept_open(self) -> AsyncIterator[None]:
        """While the block runs the client is not closed: a connection that is just being made then would stay open."""
        self._underway += 1
        try:
            yield
        finally:
            self._underway -= 1
            if self._closing and not self._underway:
                with trio.CancelScope(shield=True):
                    await self._client.aclose()

    def error(self, answer: Answer, what: str) -> errors.RemoteError:
        """The error that a status taken in by *accept* means after all."""
        if 300 <= answer.status < 400:
            return redirect_error(answer.headers.get("location", ""), self._host)
        return status_error(answer.status, self._host, what, self.redacted(answer.words))

    def redacted(self, text: str) -> str:
        """*text* without any secret of this client, its cookies among them."""
        cookies = {cookie.value or "" for cookie in self._client.cookies.jar}
        secrets = self._secrets | {cookie for cookie in cookies if len(cookie) >= _SHORTEST_COOKIE}
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            text = text.replace(secret, "***")
        return text

    def keep_secret(self, *texts: str) -> None:
        """Have no message show *texts*, which the host handed out."""
        self._secrets |= set(filter(None, texts))

    # ---- one attempt

    async def _retried(self, attempt: Callable[[int], Awaitable[_T]], most: int | None = None) -> _T:
        begun = trio.current_time()
        failures = 0
        while True:
            try:
                return await attempt(failures + 1)
            except _Failed as failed:
                failures += 1
                elapsed = trio.current_time() - begun
                delay = self._around.retry.delay(failures, elapsed, self._around.chance(), failed.asked)
                if not failed.temporary or delay is None or failures == most:
                    raise failed.error from None  # the cause may quote what was sent, so it stays here
            await self._around.sleep(delay)

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        body: Body | None,
        headers: Mapping[str, str] | None,
        hold: float,
    ) -> AsyncIterator[httpx.Response]:
        response = await self._send(method, path, params, content, body, headers, hold)
        try:
            yield response
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        body: Body | None,
        headers: Mapping[str, str] | None,
        hold: float = 0.0,
    ) -> httpx.Response:
        if self._closing:
            raise _Failed(errors.Unreachable(f"The connection to {self._host} is closed."), False)
        url = f"{self.base_url}{path}" + (f"?{urlencode(params, quote_via=quote)}" if params else "")
        try:
            if body is None:
                kind = {} if content is None else {"Content-Type": "application/json"}
                encoded = _encoded({**kind, **(headers or {})})
                timeout = _timeout(hold)
                request = self._client.build_request(method, url, content=content, headers=encoded, timeout=timeout)
                request.stream = Sending(Whole(content or b""))
                return await self._client.send(request, stream=True)
            kind = {"Content-Type": body.content_type, "Content-Length": str(body.length)}
            request = self._client.build_request(method, url, headers=_encoded({**kind, **(headers or {})}))
            async with aclosing(Sending(body.open())) as sending:
                request.stream = sending
                return await self._client.send(request, stream=True)
        except FOREIGN as foreign:
            raise self._failed(foreign) from None

    async def _judge(self, response: httpx.Response, what: str, accept: Iterable[int]) -> None:
        """Raise what a status means that is neither success nor accepted."""
        status = response.status_code
        if 200 <= status < 300 or status in accept:
            return
        if 300 <= status < 400:
            raise _Failed(redirect_error(response.headers.get("location", ""), self._host), temporary=False)
        try:
            content = await self._whole_body(response, _MAX_ERROR_BYTES)
        except _Failed:
            content = b""  # the status has said enough
        asked = parse_retry_after(response.headers.get("retry-after"), self._around.clock())
        error = status_error(status, self._host, what, self.redacted(server_words(content)), asked)
        raise _Failed(error, status in _TEMPORARY_STATUS, asked)

    async def _whole_body(self, response: httpx.Response, limit: int) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _Failed(errors.Protocol(f"{self._host} answered compressed, though asked not to."), False)
        content, chunks = bytearray(), response.aiter_raw()
        try:
            async for chunk in chunks:
                content += chunk
                if len(content) > limit:
                    await discard(response, chunks)
                    raise _Failed(errors.Protocol(f"{self._host} answered with more than {limit} bytes."), False)
        except FOREIGN as foreign:
            raise self._failed(foreign) from None
        return bytes(content)

    def _too_slow(self, what: str) -> _Failed:
        return _Failed(errors.TimedOut(f"{self._host} takes too long to {what}."), False)

    def _failed(self, foreign: Exception) -> _Failed:
        return _Failed(error_of(foreign, self._host), meaning_of(foreign).temporary)


def _timeout(hold: float = 0.0) -> httpx.Timeout:
    return httpx.Timeout(_SILENCE, connect=_NO_CONNECTION, read=_SILENCE + hold, pool=None)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers in UTF-8, where httpx would insist on ASCII: a password may be any text."""
    return [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]


def _plain_headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def user_agent() -> str:
    try:
        return f"oaiofs/{metadata.version('oaiofs')}"
    except metadata.PackageNotFoundError:
        return "oaiofs"

"""The shared edge to HTTP: connections, limits, retries, and the one place where foreign errors become ours.

With ``failures`` and ``streams`` the only importer of httpx, whose types go no further. Must not know what is asked
for or answered.

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

import json as json_text
import logging
import random
import ssl
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import trio

from .. import errors
from . import jsontext
from .address import is_loopback
from .failures import FOREIGN, error_of, meaning_of, printable, server_words, status_error
from .retry import RetryPolicy, parse_retry_after
from .streams import Sending, Translated, discard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

__all__ = ["Answer", "Body", "HttpClient", "Incoming", "Surroundings"]

logging.getLogger("httpcore").setLevel(logging.WARNING)

_T = TypeVar("_T")

#: A JSON answer larger than this is none that an honest server sends.
MAX_JSON_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_PARSE_INLINE_BYTES = 32 * 1024

#: Waiting for a free connection of our own is no failure of the host.
_TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)
#: A whole call with its whole answer, however slowly it drips.
_CALL_SECONDS = 120.0

_TEMPORARY_STATUS = frozenset({408, 425, 429, 499, 500, 502, 503, 504})


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
    """A request body that can be sent again: *open* starts it anew, *length* is its exact number of bytes."""

    open: Callable[[], AsyncIterator[bytes]]
    length: int
    content_type: str


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
        self._base_url = base_url
        self._host = host
        self._secrets = tuple(secret for secret in secrets if secret)
        self._around = surroundings or Surroundings()
        self._client = httpx.AsyncClient(
            http1=True,
            http2=False,
            verify=_ssl_context(parts.scheme),
            trust_env=not is_loopback(parts.hostname or ""),
            follow_redirects=False,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})},
        )

    def __repr__(self) -> str:
        return f"<HttpClient {self._base_url}>"

    @property
    def base_url(self) -> str:
        return self._base_url

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
    ) -> Answer:
        """Ask for *path* (relative to the base, percent-encoded) and take in the whole answer.

        Tried again by the retry policy: so only for what may be done twice. Any status but 200 to 299 and those in
        *accept* is raised as the RemoteError it means; *what* is the action in a message's words. Bodies of JSON are
        sent from *json*, others from *body*.
        """
        content = None if json is None else await trio.to_thread.run_sync(_dumped, json)

        async def attempt(number: int) -> Answer:
            begun = self._around.clock()
            with trio.move_on_after(self._around.call_seconds if body is None else float("inf")):
                async with self._exchange(method, path, params, content, body, headers) as response:
                    await self._judge(response, what, accept)
                    answered = await self._whole_body(response, self._around.max_json_bytes)
                    middle = begun + (self._around.clock() - begun) / 2
                    return Answer(response.status_code, _plain_headers(response), answered, middle, number)
            raise _Failed(errors.TimedOut(f"{self._host} takes too long to {what}."), temporary=False)

        return await self._retried(attempt)

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
            response = await self._send(method, path, params, None, None, headers)
            chunks = response.aiter_raw()
            try:
                await self._judge(response, what, accept)
            except BaseException:
                await discard(response, chunks)
                raise
            return response, chunks

        response, chunks = await self._retried(attempt)
        try:
            yield Incoming(response.status_code, _plain_headers(response), Translated(chunks, self._host))
        finally:
            await discard(response, chunks)

    async def aclose(self) -> None:
        await self._client.aclose()

    def error(self, answer: Answer, what: str) -> errors.RemoteError:
        """The error that a status taken in by *accept* means after all."""
        if 300 <= answer.status < 400:
            return _redirected(answer.headers, self._host)
        return status_error(answer.status, self._host, what, self.redacted(answer.words))

    def redacted(self, text: str) -> str:
        """*text* without any secret of this client."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    # ---- one attempt

    async def _retried(self, attempt: Callable[[int], Awaitable[_T]]) -> _T:
        begun = trio.current_time()
        failures = 0
        while True:
            try:
                return await attempt(failures + 1)
            except _Failed as failed:
                failures += 1
                elapsed = trio.current_time() - begun
                delay = self._around.retry.delay(failures, elapsed, self._around.chance(), failed.asked)
                if not failed.temporary or delay is None:
                    # The cause may quote what was sent, so it stays here.
                    raise failed.error from None
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
    ) -> AsyncIterator[httpx.Response]:
        response = await self._send(method, path, params, content, body, headers)
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
    ) -> httpx.Response:
        if self._client.is_closed:
            raise _Failed(errors.Unreachable(f"The connection to {self._host} was closed here."), temporary=False)
        url = f"{self._base_url}{path}" + (f"?{urlencode(params, quote_via=quote)}" if params else "")
        try:
            if body is None:
                kind = {} if content is None else {"Content-Type": "application/json"}
                encoded = _encoded({**kind, **(headers or {})})
                request = self._client.build_request(method, url, content=content, headers=encoded)
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
            raise _Failed(_redirected(_plain_headers(response), self._host), temporary=False)
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
        content = bytearray()
        chunks = response.aiter_raw()
        try:
            async for chunk in chunks:
                content += chunk
                if len(content) > limit:
                    await discard(response, chunks)
                    raise _Failed(errors.Protocol(f"{self._host} answered with more than {limit} bytes."), False)
        except FOREIGN as foreign:
            raise self._failed(foreign) from None
        return bytes(content)

    def _failed(self, foreign: Exception) -> _Failed:
        return _Failed(error_of(foreign, self._host), meaning_of(foreign).temporary)


def _redirected(headers: Mapping[str, str], host: str) -> errors.Protocol:
    target = urlsplit(headers.get("location", "")).hostname
    elsewhere = f" to {printable(target)}" if target else ""
    return errors.Protocol(f"{host} redirects{elsewhere} instead of answering: check the address.")


def _dumped(value: object) -> bytes:
    try:
        return json_text.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise errors.Protocol("These values can't be sent: they hold what JSON has no form for.") from None


def _ssl_context(scheme: str) -> ssl.SSLContext:
    if scheme == "https":
        return httpx.create_ssl_context(verify=True, trust_env=True)
    # Never used for plain http; one that trusts nobody is quickly made (reading the system's takes 20 ms) and safe.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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

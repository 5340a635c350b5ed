"""The edge to HTTP, against a server that misbehaves as told."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from oaiofs import errors
from oaiofs.remote.http import Body, HttpClient, Surroundings
from oaiofs.remote.retry import NO_RETRY, RetryPolicy
from tests.remote.scripted import Reply, Request, ScriptedServer, json_reply, one_after_the_other, scripted
from tests.remote.worlds import read_all

PASSWORD = "top5ecret"
#: Self-signed, for loopback, with its key.
CERTIFICATE = Path(__file__).with_name("loopback.pem")
CUT = Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2")


class Slept(list[float]):
    """Sleeps that take no time, written down."""

    async def __call__(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.append(seconds)


def client(server: ScriptedServer, slept: Slept | None = None, **changes: Any) -> HttpClient:
    changes.setdefault("retry", RetryPolicy(attempts=3, first_delay=1) if slept is not None else NO_RETRY)
    around = Surroundings(sleep=slept if slept is not None else trio.sleep, chance=lambda: 0.0, **changes)
    return HttpClient(server.url, host="the host", secrets=[PASSWORD], surroundings=around)


async def call(http: HttpClient, **options: Any) -> Any:
    try:
        return await (await http.call("GET", "/x", "do it", **options)).json()
    finally:
        await http.aclose()


async def test_a_request_says_who_it_is_and_wants_no_compression() -> None:
    async with scripted(one_after_the_other(json_reply([1]))) as server:
        assert await call(client(server), params={"path": "/a b&c", "empty": ""}) == [1]
    (request,) = server.requests
    assert request.headers["user-agent"].startswith("oaiofs")
    assert request.headers["accept-encoding"] == "identity"
    assert request.target == "/x?path=%2Fa%20b%26c&empty="


async def test_connections_are_used_again() -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        http = client(server)
        for _ in range(5):
            await http.call("GET", "/x", "do it")
        await http.aclose()
    assert server.connections == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408, 499])
async def test_what_is_temporary_is_tried_again(status: int) -> None:
    slept = Slept()
    async with scripted(one_after_the_other(Reply(status), CUT, json_reply("fine"))) as server:
        assert await call(client(server, slept)) == "fine"
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 507])
async def test_what_is_meant_is_not_tried_again(status: int) -> None:
    slept = Slept()
    async with scripted(lambda _: Reply(status)) as server:
        with pytest.raises(errors.RemoteError):
            await call(client(server, slept))
    assert len(server.requests) == 1
    assert slept == []


async def test_trying_ends() -> None:
    slept = Slept()
    async with scripted(lambda _: Reply(500)) as server:
        with pytest.raises(errors.ServerFault):
            await call(client(server, slept))
    assert len(server.requests) == 3


async def test_the_number_of_attempts_is_told() -> None:
    async with scripted(one_after_the_other(Reply(500), Reply(409))) as server:
        http = client(server, Slept())
        assert (await http.call("GET", "/x", "do it", accept=(409,))).attempts == 2
        await http.aclose()


async def test_retry_after_is_obeyed() -> None:
    slept = Slept()
    date = "Sun, 22 Nov 2026 12:00:10 GMT"
    clock = lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # noqa: E731
    replies = (Reply(429, headers={"Retry-After": "7"}), Reply(503, headers={"Retry-After": date}), json_reply(1))
    async with scripted(one_after_the_other(*replies)) as server:
        await call(client(server, slept, clock=clock))
    assert slept == [7.0, 10.0]


async def test_a_wait_that_is_too_long_is_told_at_once() -> None:
    slept = Slept()
    async with scripted(lambda _: Reply(429, headers={"Retry-After": "3600"})) as server:
        with pytest.raises(errors.RateLimited) as caught:
            await call(client(server, slept))
    assert caught.value.retry_after == 3600
    assert slept == []


async def test_no_connection_is_said_at_once() -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        pass
    slept = Slept()
    with pytest.raises(errors.Unreachable) as caught:
        await call(client(server, slept))
    assert "no connection" in str(caught.value)
    assert slept == []


@pytest.mark.parametrize(
    "reply",
    [
        CUT,
        Reply(raw=b""),
        Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n"),
        Reply(raw=b"SSH-2.0-OpenSSH_9\r\n\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
    ],
)
async def test_a_cut_or_foreign_answer(reply: Reply) -> None:
    async with scripted(lambda _: reply) as server:
        with pytest.raises(errors.Unreachable):
            await call(client(server))


@pytest.mark.parametrize("body", [b"<html>no JSON</html>", b"", b"{", b"\xff\xfe"])
async def test_what_is_not_json(body: bytes) -> None:
    async with scripted(lambda _: Reply(200, body)) as server:
        with pytest.raises(errors.Protocol):
            await call(client(server))


async def test_a_large_answer_is_parsed_too() -> None:
    async with scripted(lambda _: json_reply(["x" * 1000] * 100)) as server:
        assert len(await call(client(server))) == 100


@pytest.mark.parametrize("endless", [True, False])
async def test_an_answer_without_end(endless: bool) -> None:
    async with scripted(lambda _: Reply(200, b"x" * 5000, endless=endless)) as server:
        with pytest.raises(errors.Protocol, match="more than 4000 bytes"):
            await call(client(server, max_json_bytes=4000))


async def test_an_error_without_end() -> None:
    async with scripted(lambda _: Reply(404, b"x" * 5000, endless=True)) as server:
        with pytest.raises(errors.RemoteNotFound):
            await call(client(server))


async def test_an_answer_that_takes_for_ever() -> None:
    async with scripted(lambda _: Reply(200, b" ", endless=True)) as server:
        with pytest.raises(errors.TimedOut):
            await call(client(server, call_seconds=0.05, max_json_bytes=1 << 40))


async def test_compressed_answers_are_refused() -> None:
    bomb = Reply(200, gzip.compress(bytes(10_000_000)), {"Content-Encoding": "gzip"})
    async with scripted(lambda _: bomb) as server:
        with pytest.raises(errors.Protocol, match="compressed"):
            await call(client(server))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with scripted(lambda _: json_reply("stolen")) as other:
        elsewhere = Reply(status, headers={"Location": f"http://localhost:{other.port}/x"})
        async with scripted(lambda _: elsewhere) as server:
            with pytest.raises(errors.Protocol, match="redirects to localhost"):
                await call(client(server), headers={"Authorization": PASSWORD})
    assert other.requests == []


async def test_cookies_are_kept_and_forgotten() -> None:
    replies = [json_reply(1, Set_Cookie=f"token={value}; Path=/") for value in ("old", "new")]
    async with scripted(one_after_the_other(*replies, json_reply(1))) as server:
        http = client(server)
        assert http.cookie("token") is None
        await http.call("GET", "/x", "do it")
        await http.call("GET", "/x", "do it")
        assert http.cookie("token") == "new"
        http.forget_cookies()
        await http.call("GET", "/x", "do it")
        await http.aclose()
    assert [request.headers.get("cookie") for request in server.requests] == [None, "token=old", None]


async def test_secrets_stay_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = (
        json_reply({"error": f"who is {PASSWORD}?"}, 400, Set_Cookie=f"session={PASSWORD}"),
        json_reply([], Set_Cookie=f"session={PASSWORD}"),
    )
    async with scripted(one_after_the_other(*replies)) as server:
        http = client(server)
        with pytest.raises(errors.Protocol) as caught:
            await http.call("GET", "/x", "do it", headers={"Authorization": PASSWORD})
        answer = await http.call("GET", "/x", "do it", headers={"Authorization": PASSWORD})
        with pytest.raises(errors.Protocol) as impossible:
            await http.call("GET", "/x", "do it", headers={"X-Pass": f"{PASSWORD}\r\nX-More: 1"})
        await http.aclose()
    assert "who is ***?" in str(caught.value)
    for error in (caught.value, impossible.value):
        assert error.__cause__ is None
        assert error.__suppress_context__
        assert PASSWORD not in str(error)
    assert len(server.requests) == 2
    assert PASSWORD not in caplog.text + repr(http) + repr(answer.body and answer)


async def test_headers_may_hold_any_text() -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        await call(client(server), headers={"X-Pass": "pässwörd"})
    assert server.requests[0].headers["x-pass"] == "pässwörd"


async def test_json_is_sent() -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        await call(client(server), json={"ü": [1.5, None]})
    assert server.requests[0].json == {"ü": [1.5, None]}
    assert server.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", [float("nan"), "\ud800"])
async def test_what_json_can_not_hold_is_refused(value: object) -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        with pytest.raises(errors.Protocol):
            await call(client(server), json={"a": value})
    assert server.requests == []


async def test_a_body_is_sent_again_from_its_beginning() -> None:
    opened = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal opened
        opened += 1
        yield b"12"
        yield b"345"

    async with scripted(one_after_the_other(Reply(503), json_reply(1))) as server:
        await call(client(server, Slept()), body=Body(chunks, 5, "text/plain"))
    assert [request.body for request in server.requests] == [b"12345", b"12345"]
    assert server.requests[0].headers["content-length"] == "5"
    assert opened == 2


async def test_a_stream_is_read_as_it_comes_and_may_be_left() -> None:
    async with scripted(lambda _: Reply(200, b"x" * 1000, endless=True)) as server:
        http = client(server)
        async with http.stream("GET", "/x", "do it") as incoming:
            assert await anext(incoming.chunks)
        with pytest.raises(KeyError):
            async with http.stream("GET", "/x", "do it"):
                raise KeyError
        server.handler = lambda _: json_reply(1)
        await http.call("GET", "/x", "do it")
        await http.aclose()


async def test_a_cut_stream_is_corrupt() -> None:
    async with scripted(lambda _: CUT) as server:
        http = client(server)
        async with http.stream("GET", "/x", "do it") as incoming:
            with pytest.raises(errors.Corrupt):
                await read_all(incoming.chunks)
        await http.aclose()


async def test_getting_a_stream_is_tried_again() -> None:
    async with scripted(one_after_the_other(Reply(503), Reply(200, b"fine"))) as server:
        http = client(server, Slept())
        async with http.stream("GET", "/x", "do it") as incoming:
            assert [chunk async for chunk in incoming.chunks] == [b"fine"]
        await http.aclose()


async def test_the_middle_of_a_request_is_told() -> None:
    times = iter([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds) for seconds in (0, 10)])
    async with scripted(lambda _: json_reply(1)) as server:
        http = client(server, clock=lambda: next(times))
        assert (await http.call("GET", "/x", "do it")).middle == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
        await http.aclose()


async def test_no_proxy_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(lambda _: json_reply("proxy")) as proxy, scripted(lambda _: json_reply("direct")) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert await call(client(server)) == "direct"


async def test_proxies_are_used_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxying(request: Request) -> Reply:
        assert request.target == "http://oaio.invalid/x"
        return json_reply("proxy")

    async with scripted(proxying) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        http = HttpClient("http://oaio.invalid", host="h", surroundings=Surroundings(retry=NO_RETRY))
        assert await call(http) == "proxy"


async def test_a_closed_client_is_unreachable() -> None:
    async with scripted(lambda _: json_reply(1)) as server:
        http = client(server)
        await http.aclose()
        with pytest.raises(errors.Unreachable):
            await http.call("GET", "/x", "do it")


async def test_tls_is_verified_with_what_the_environment_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with scripted(lambda _: json_reply("fine"), CERTIFICATE) as server:
        strict = HttpClient(server.url, host="h", surroundings=Surroundings(retry=NO_RETRY))
        with pytest.raises(errors.Unreachable, match="certificate"):
            await call(strict)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert await call(HttpClient(server.url, host="h", surroundings=Surroundings(retry=NO_RETRY))) == "fine"

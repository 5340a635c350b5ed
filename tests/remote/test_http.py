"""The edge to HTTP, against a server that misbehaves as told."""

from __future__ import annotations

import contextlib
import gc
import gzip
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from oaiofs import errors
from oaiofs.core.model import StorageAccount
from oaiofs.remote.http import Body, HttpClient, Surroundings
from oaiofs.remote.koofr import KoofrHost
from oaiofs.remote.oaio import HttpOaioServer
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


@pytest.mark.parametrize("status", [408, 423, 425, 429, 499, 500, 502, 503, 504])
async def test_what_is_temporary_is_tried_again(status: int) -> None:
    slept = Slept()
    async with scripted(one_after_the_other(Reply(status), CUT, json_reply("fine"))) as server:
        assert await call(client(server, slept)) == "fine"
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 451, 507, 511])
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


@pytest.mark.parametrize(
    "reply", [Reply(200, b" \n<!DOCTYPE html>"), Reply(200, b"1", {"Content-Type": "text/html; charset=utf-8"})]
)
async def test_a_web_page_in_place_of_an_answer_is_an_outage(reply: Reply) -> None:
    slept = Slept()
    async with scripted(lambda _: reply) as server:
        with pytest.raises(errors.Unreachable, match="sign in"):
            await call(client(server, slept))
    assert slept == [], "told at once, for sync to come back"


async def test_a_web_page_with_a_refusal_means_what_its_status_means() -> None:
    async with scripted(lambda _: Reply(403, b"<html>", {"Content-Type": "text/html"})) as server:
        with pytest.raises(errors.Forbidden):
            await call(client(server))


@pytest.mark.parametrize("body", [b"no JSON", b"", b"{", b"\xff\xfe"])
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


@pytest.mark.parametrize("location", ["http://[", "//[::1", "\x7f", "http://a:99999999/", "http://" + "a" * 50_000])
async def test_redirects_to_nowhere(location: str) -> None:
    async with scripted(lambda _: Reply(302, headers={"Location": location})) as server:
        with pytest.raises(errors.RemoteError):
            await call(client(server))
        oaio = HttpOaioServer(server.url, "me", PASSWORD, device_id="d", app_id="a")
        with pytest.raises(errors.RemoteError):
            await oaio.list_objects()
        await oaio.aclose()


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


async def test_what_a_host_handed_out_stays_secret_too() -> None:
    said = json_reply({"error": "you sent c00kie-value and t0ken-value, 1"}, 400)
    cookies = [json_reply(1, Set_Cookie=cookie) for cookie in ("sessionid=c00kie-value", "n=1")]
    async with scripted(one_after_the_other(*cookies, said)) as server:
        http = client(server)
        http.keep_secret("t0ken-value", "")
        await http.call("GET", "/x", "do it")
        await http.call("GET", "/x", "do it")
        with pytest.raises(errors.RemoteError, match=r"you sent \*\*\* and \*\*\*, 1"):
            await http.call("GET", "/x", "do it")
        await http.aclose()


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


@pytest.mark.parametrize("ticks", range(2, 40))  # after the first one it may not have begun
async def test_what_is_underway_when_a_client_is_closed_ends_in_order(ticks: int) -> None:
    """Whether it is just connecting, asking or reading; a connection that stays open is told by Python as a warning."""
    answers = []

    async def ask(http: HttpClient) -> None:
        async with http.stream("GET", "/x", "do it") as incoming:
            answers.append(b"".join([chunk async for chunk in incoming.chunks]))

    async with scripted(lambda _: Reply(200, b"x" * 200_000)) as server:
        http = client(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, http)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            await http.aclose()
        gc.collect()
    assert answers == [b"x" * 200_000]


@pytest.mark.parametrize(
    ("certificate", "trusted", "why"),
    [
        ("loopback.pem", "elsewhere.pem", "self-signed certificate"),
        ("elsewhere.pem", "elsewhere.pem", "not valid for '127.0.0.1'"),
        ("expired.pem", "expired.pem", "certificate has expired"),
    ],
)
@pytest.mark.parametrize("insecure", [False, True])
async def test_certificates_that_prove_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, certificate: str, trusted: str, why: str, insecure: bool
) -> None:
    """Whatever is asked for: --insecure lets plain http go to other hosts, and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE.with_name(trusted)))
    async with scripted(lambda _: json_reply({}), CERTIFICATE.with_name(certificate)) as server:
        around = Surroundings(retry=NO_RETRY)
        oaio = HttpOaioServer(
            server.url, "me", PASSWORD, device_id="d", app_id="a", insecure=insecure, surroundings=around
        )
        account = StorageAccount("Digi", {"email": "me", "password": PASSWORD})
        storage = KoofrHost(account, base_url=server.url, insecure=insecure, surroundings=around)
        for asking in (oaio.login, storage.quota):
            with pytest.raises(errors.Unreachable, match=f"its certificate is not accepted: .*{why}"):
                await asking()
        await oaio.aclose()
        await storage.aclose()
    assert server.requests == []


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_certificates_that_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    named = tmp_path / "certificates.pem"
    if content is not None:
        named.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    with pytest.raises(errors.ConfigError, match="SSL_CERT_FILE"):
        HttpClient("https://localhost", host="h")


async def test_tls_is_verified_with_what_the_environment_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with scripted(lambda _: json_reply("fine"), CERTIFICATE) as server:
        strict = HttpClient(server.url, host="h", surroundings=Surroundings(retry=NO_RETRY))
        with pytest.raises(errors.Unreachable, match="certificate"):
            await call(strict)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert await call(HttpClient(server.url, host="h", surroundings=Surroundings(retry=NO_RETRY))) == "fine"


#: Heads and bodies that go on for ever, a little at a time: (what comes at once, what then drips).
DRIPPING = {
    "status line": (b"HTTP/1.1 200 ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "body without length": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a chunk's length": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: 1\r\n"),
    "an error's body": (b"HTTP/1.1 404 Gone\r\n\r\n", b"x"),
}


async def ask(http: HttpClient, streamed: bool) -> None:
    """Take an answer whole or as it comes, and leave."""
    try:
        if streamed:
            async with http.stream("GET", "/x", "do it") as incoming:
                await read_all(incoming.chunks)
        else:
            await http.call("GET", "/x", "do it")
    finally:
        await http.aclose()


@pytest.mark.parametrize("name", DRIPPING)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_drips_for_ever_is_given_up(name: str, streamed: bool) -> None:
    raw, drop = DRIPPING[name]
    async with scripted(lambda _: Reply(raw=raw, body=drop, drip=0.01)) as server:
        with trio.fail_after(20), pytest.raises(errors.RemoteError):
            await ask(client(server, call_seconds=0.2), streamed)


async def test_an_upload_that_is_never_answered_is_given_up() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"12345"

    async with scripted(lambda _: Reply(raw=b"HTTP/1.1 200 OK\r\n", body=b"X-More: 1\r\n", drip=0.01)) as server:
        http = client(server, call_seconds=0.2)
        with trio.fail_after(20), pytest.raises(errors.TimedOut):
            await http.call("POST", "/x", "do it", body=Body(chunks, 5, "text/plain"))
        await http.aclose()


async def test_a_body_that_nobody_takes_is_given_up_and_leaves_nothing_half_used() -> None:
    """What is not closed in order is told by Python as a warning, which fails the test."""
    deaf = await trio.open_tcp_listeners(0, host="127.0.0.1")
    http = HttpClient(f"http://127.0.0.1:{deaf[0].socket.getsockname()[1]}", host="the host", secrets=[])
    with trio.move_on_after(0.2):
        await http.call("POST", "/x", "do it", json="x" * (16 << 20))
    await http.aclose()
    await deaf[0].aclose()
    gc.collect()


async def test_an_upload_that_we_hold_back_is_not_a_slow_host(mock_clock: trio.testing.MockClock) -> None:
    left = False

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal left
        try:
            for _ in range(3):
                mock_clock.jump(0.3)
                await trio.lowlevel.checkpoint()
                yield b"12345"
        finally:
            left = True

    async with scripted(lambda _: json_reply("fine")) as server:
        http = client(server, call_seconds=0.4)
        answer = await http.call("POST", "/x", "do it", body=Body(chunks, 15, "text/plain"))
        assert (await answer.json(), server.requests[0].body, left) == ("fine", b"12345" * 3, True)
        with trio.move_on_after(0.1) as scope:  # who gives up is not held back either
            await http.call("POST", "/x", "do it", body=Body(chunks, 15, "text/plain"))
        assert scope.cancelled_caught
        await http.aclose()


async def test_a_slow_reader_is_not_a_slow_host(mock_clock: trio.testing.MockClock) -> None:
    async with scripted(lambda _: Reply(200, b"x" * 200_000)) as server:
        http = client(server, call_seconds=0.5)
        async with http.stream("GET", "/x", "do it") as incoming:
            size = 0
            async for chunk in incoming.chunks:
                size += len(chunk)
                mock_clock.jump(0.6)
                await trio.lowlevel.checkpoint()
        await http.aclose()
    assert size == 200_000


HEADS_WITHOUT_END = [
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
    b"HTTP/1.1 " + b"2" * 1_000_000,
    b"\r\n" * 500_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 1_000_000,
]


@pytest.mark.parametrize("raw", HEADS_WITHOUT_END)
@pytest.mark.parametrize("streamed", [False, True])
async def test_heads_without_end_are_refused(raw: bytes, streamed: bool) -> None:
    async with scripted(lambda _: Reply(raw=raw)) as server:
        with pytest.raises(errors.RemoteError):
            await ask(client(server), streamed)


@pytest.mark.parametrize(
    "length", ["-1", "9" * 23, "9" * 5000, "٣", "1e3", "5, 6", "5\r\nContent-Length: 6", "", " ", "0x5", "+5", "5 5"]
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_length_that_makes_no_sense_is_no_other_error(length: str, streamed: bool) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n5"
    async with scripted(lambda _: Reply(raw=head.encode())) as server:
        with contextlib.suppress(errors.RemoteError):
            await ask(client(server), streamed)

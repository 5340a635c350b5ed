"""Sessions on an oaio server that end: renewed once, together, and never for ever."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import OaioId
from oaiofs.remote.oaio import HttpOaioServer
from tests.remote.oaiosite import NOW, Django, client, listed
from tests.remote.scripted import Reply, json_reply, scripted
from tests.remote.worlds import outgoing


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, ""),
        (403, '{"detail": "CSRF Failed: CSRF token incorrect."}'),
        (403, '{"detail": "Authentication credentials were not provided."}'),
    ],
)
async def test_a_session_that_is_over_is_renewed_once(status: int, text: str) -> None:
    site = Django(oaio_stampz=listed())
    site.over, site.over_text = status, text
    async with scripted(site) as server:
        oaio = client(server)
        await oaio.login()
        site.end_session()
        assert (await oaio.list_objects()).objects == ()
        await oaio.aclose()
    assert site.logins == 2


async def test_a_redirect_to_the_login_page_is_the_end_of_a_session() -> None:
    site = Django(oaio_stampz=listed())
    async with scripted(site) as server:
        oaio = client(server)
        await oaio.login()
        site.endpoints["oaio_stampz"] = lambda _: Reply(302, headers={"Location": "/accounts/login/?next=/"})
        with pytest.raises(errors.Protocol, match="redirects"):
            await oaio.list_objects()
        assert site.logins == 2
        site.endpoints["oaio_stampz"] = lambda _: Reply(302, headers={"Location": "https://evil.example/login/"})
        with pytest.raises(errors.Protocol, match=r"redirects to evil\.example"):
            await oaio.list_objects()
        assert site.logins == 2
        await oaio.aclose()


async def test_a_session_is_not_renewed_for_ever() -> None:
    site = Django(oaio_stampz=lambda _: Reply(401))
    async with scripted(site) as server:
        oaio = client(server)
        with pytest.raises(errors.Unauthorized):
            await oaio.list_objects()
        await oaio.aclose()
    assert site.logins == 2


async def test_a_token_that_expired_is_renewed() -> None:
    stored = outgoing({"x": 1})
    site = Django(register=lambda request: json_reply(request.json))
    async with scripted(site) as server:
        oaio = client(server)
        await oaio.login()
        site.token += 1
        assert (await oaio.register(stored)).stamp == stored.stamp
        await oaio.aclose()
    assert site.logins == 2


async def test_a_refusal_that_is_meant_costs_no_login() -> None:
    site = Django(delete=lambda _: json_reply({"error": "you need right D"}, 403))
    async with scripted(site) as server:
        oaio = client(server)
        with pytest.raises(errors.Forbidden, match="right D"):
            await oaio.delete(OaioId("id"))
        await oaio.aclose()
    assert site.logins == 1


async def test_an_old_session_is_doubted() -> None:
    site = Django(delete=lambda _: json_reply({"fehler": "Nicht angemeldet"}, 403))
    now = NOW
    async with scripted(site) as server:
        oaio = client(server, clock=lambda: now)
        await oaio.login()
        now += timedelta(minutes=6)
        with pytest.raises(errors.Forbidden):
            await oaio.delete(OaioId("id"))
        await oaio.aclose()
    assert site.logins == 2


async def test_concurrent_calls_renew_the_session_once() -> None:
    site = Django(oaio_stampz=listed())
    async with scripted(site) as server:
        oaio = client(server)
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(oaio.list_objects)
        assert site.logins == 1
        site.end_session()
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(oaio.list_objects)
        assert site.logins == 2
        await oaio.aclose()


async def test_a_wrong_password_is_tried_once_for_all_that_wait() -> None:
    site = Django(oaio_stampz=listed())
    refused = 0

    async def poll(oaio: HttpOaioServer) -> None:
        nonlocal refused
        try:
            await oaio.list_objects()
        except errors.Unauthorized:
            refused += 1

    async with scripted(site) as server:
        oaio = client(server, password="wrong")
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(poll, oaio)
        assert (refused, site.logins) == (6, 1)
        await poll(oaio)
        assert (refused, site.logins) == (7, 2)
        await oaio.aclose()


async def test_a_server_without_a_login_is_not_taken_for_one_that_misses_an_object() -> None:
    async with scripted(lambda _: Reply(404)) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol, match="is it an oaio server"):
            await oaio.delete(OaioId("id"))
        await oaio.aclose()


async def test_a_wrong_password_is_named_but_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site = Django(oaio_stampz=listed())
    async with scripted(site) as server:
        oaio = client(server, password="wr0ng pass")
        with pytest.raises(errors.Unauthorized) as caught:
            await oaio.list_objects()
        await oaio.aclose()
    assert site.logins == 1
    assert "jörg" in str(caught.value)
    assert "wr0ng pass" not in str(caught.value) + caplog.text + repr(oaio)

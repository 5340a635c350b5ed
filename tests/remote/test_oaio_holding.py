"""Listings that an oaio server holds until there is something new."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oaiofs import errors
from oaiofs.remote.retry import RetryPolicy
from tests.remote.oaiosite import CUT, Django, client
from tests.remote.scripted import Reply, Request, json_reply, scripted


def holding(hold: str, replies: list[Reply]) -> Callable[[Request], Reply]:
    """A listing that says X-OAIO-hold, and what is answered to requests to wait."""

    def listing(request: Request) -> Reply:
        if "prefer" in request.headers:
            return replies.pop(0)
        return json_reply([], ETag='"v1"', X_OAIO_hold=hold)

    return listing


@pytest.mark.parametrize("hold", ["", "no", "nan", "inf", "-5", "0", "1e99"])
async def test_who_does_not_say_that_it_holds_is_not_asked_to(hold: str) -> None:
    async with scripted(Django(oaio_stampz=holding(hold, []))) as server:
        oaio = client(server)
        seen = await oaio.list_objects()
        assert oaio.longest_hold == 0.0
        assert await oaio.next_listing(seen, 50) == seen
        await oaio.aclose()


@pytest.mark.parametrize(("wait", "asked"), [(50.0, "wait=20"), (5.0, "wait=5")])
async def test_a_server_is_asked_to_hold_for_as_long_as_both_like(wait: float, asked: str) -> None:
    async with scripted(Django(oaio_stampz=holding("20.5", [Reply(304)]))) as server:
        oaio = client(server)
        seen = await oaio.list_objects()
        assert await oaio.next_listing(seen, wait) is seen
        request = server.requests[-1]
        assert (request.headers["prefer"], request.headers["if-none-match"]) == (asked, '"v1"')
        await oaio.aclose()


@pytest.mark.parametrize("reply", [CUT, Reply(504), Reply(502), Reply(503)])
async def test_a_hold_that_is_cut_is_not_tried_again(reply: Reply) -> None:
    site = Django(oaio_stampz=holding("50", [reply, Reply(304)]))
    async with scripted(site) as server:
        oaio = client(server, retry=RetryPolicy())
        seen = await oaio.list_objects()
        before = len(server.requests)
        with pytest.raises(errors.RemoteError):
            await oaio.next_listing(seen, 50)
        assert len(server.requests) == before + 1
        assert await oaio.next_listing(seen, 50) is seen
        await oaio.aclose()


async def test_the_end_of_a_session_in_a_hold_is_no_failure() -> None:
    site = Django(oaio_stampz=holding("50", [Reply(401), Reply(304)]))
    async with scripted(site) as server:
        oaio = client(server)
        seen = await oaio.list_objects()
        assert await oaio.next_listing(seen, 50) is seen
        await oaio.aclose()
    assert site.logins == 2

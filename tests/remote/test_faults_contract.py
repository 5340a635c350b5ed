"""What goes wrong outside looks the same through the in-memory twins and over HTTP to a real server behind a proxy.

Each fault is named once, with what makes it in either world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from oaiofs import errors
from oaiofs.core.model import Listing
from oaiofs.remote.contract import OaioServer, StorageHost
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.memory import Cloud, Faults
from oaiofs.remote.oaio import HttpOaioServer
from tests.faultproxy import FaultProxy, serving_proxy
from tests.remote.worlds import ONCE, next_version, outgoing, read_all, source_of
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]

CONTENT = b"0123456789" * 500
LISTING, PUT, GET, TREE = "/api/oaio_stampz/", "/content/*/files/put", "/content/*/files/get", "*/files/listrecursive"


class Place:
    """One account's server and storage, and the hands that spoil both: *twin* for the twins, *proxy* for HTTP."""

    def __init__(
        self, server: OaioServer, host: StorageHost, spoil: Callable[[Callable[[Faults], Any], list[Any]], None]
    ) -> None:
        self.server = server
        self.host = host
        self.spoil = spoil

    async def put(self, path: str, content: bytes = CONTENT) -> None:
        await self.host.put(path, source_of(content, 1000), len(content), 1_000_000_000)

    async def get(self, path: str) -> bytes:
        async with self.host.get(path) as chunks:
            return await read_all(chunks)


def of_twins() -> Place:
    cloud, faults = Cloud(), Faults()
    cloud.add_storage("Digi")
    cloud.add_user("user")

    def spoil(twin: Callable[[Faults], Any], _proxy: list[Any]) -> None:
        twin(faults)

    return Place(cloud.session("user", faults=faults), cloud.storage("Digi", faults=faults), spoil)


async def over_http(kit: ServerKit, proxy: FaultProxy) -> Place:
    name, password = kit.fresh_user()
    server = HttpOaioServer(proxy.host, name, password, device_id="d", app_id="oaiofs", surroundings=ONCE)
    account = await server.storage_account("Digi")
    own = {**account.arguments, "root_folder": f"{account.arguments['root_folder']}/faults of {name}"}
    host = open_storage(type(account)("Digi", own), {"Digi": proxy.url}, surroundings=ONCE)
    await server.current_stamp()

    def spoil(_twin: Callable[[Faults], Any], on_the_way: list[Any]) -> None:
        kind, method, path, *how = on_the_way
        proxy.add(kind, method, path, **(how[0] if how else {"times": 1}))

    return Place(server, host, spoil)


@pytest.fixture(params=["memory", "http"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        yield of_twins()
        return
    kit: ServerKit = request.getfixturevalue("oaio_server")
    async with serving_proxy(kit.url) as proxy:
        made = await over_http(kit, proxy)
        await made.put("warm/up")
        yield made
        proxy.faults.clear()
        await made.host.aclose()
        await made.server.aclose()


# ---------------------------------------------------------------------------------------- the storage


async def test_of_a_half_sent_file_nothing_is_stored(place: Place) -> None:
    place.spoil(lambda faults: setattr(faults, "half_sent", 1), ["half_sent", "POST", PUT])
    with pytest.raises(errors.Unreachable):
        await place.put("i/s/f")
    with pytest.raises(errors.RemoteNotFound):
        await place.get("i/s/f")
    await place.put("i/s/f")
    assert await place.get("i/s/f") == CONTENT


async def test_a_file_whose_answer_was_lost_is_stored_and_may_be_sent_again(place: Place) -> None:
    await place.put("i/s/other")
    place.spoil(lambda faults: faults.drop_answer("put"), ["lost", "POST", PUT])
    with pytest.raises(errors.Unreachable):
        await place.put("i/s/f")
    assert await place.get("i/s/f") == CONTENT
    await place.put("i/s/f")
    assert set(await place.host.list_tree("i/s")) == {"f", "other"}, "not stored twice"


async def test_a_storage_that_refuses_some_puts_stores_nothing_of_those(place: Place) -> None:
    place.spoil(
        lambda faults: faults.fail("put", errors.Protocol("it refused the request (400)")),
        ["status", "POST", PUT, {"times": 1, "status": 400}],
    )
    with pytest.raises(errors.Protocol):
        await place.put("i/s/f")
    with pytest.raises(errors.RemoteNotFound):
        await place.get("i/s/f")
    await place.put("i/s/f")


@pytest.mark.parametrize("status", [413, 507])
async def test_a_full_storage_is_told_as_such(place: Place, status: int) -> None:
    place.spoil(
        lambda faults: faults.fail("put", errors.StorageFull("The storage is full.")),
        ["status", "POST", PUT, {"times": 1, "status": status}],
    )
    with pytest.raises(errors.StorageFull):
        await place.put("i/s/f")


async def test_wrong_lengths_and_hashes_of_stored_files_are_noticed(place: Place) -> None:
    await place.put("i/s/other")
    place.spoil(lambda faults: setattr(faults, "sizes", "wrong"), ["lie", "POST", PUT])
    with pytest.raises(errors.Corrupt):
        await place.put("i/s/f")


@pytest.mark.parametrize("kind", ["cut_body", "long"])
async def test_a_file_that_ends_early_is_an_error_and_no_short_file(place: Place, kind: str) -> None:
    await place.put("i/s/f")
    place.spoil(lambda faults: setattr(faults, "cut_after", 99), [kind, "GET", GET])
    with pytest.raises((errors.Corrupt, errors.Unreachable)):
        await place.get("i/s/f")


async def test_wrong_bytes_come_through_for_their_reader_to_find(place: Place) -> None:
    await place.put("i/s/f")
    place.spoil(lambda faults: setattr(faults, "flipped", True), ["flipped", "GET", GET])
    got = await place.get("i/s/f")
    assert (len(got), got == CONTENT) == (len(CONTENT), False)


async def test_a_listing_twice_over_names_each_file_once(place: Place) -> None:
    await place.put("i/s/f")
    await place.put("i/s/g")
    whole = await place.host.list_tree("i/s")
    place.spoil(lambda faults: setattr(faults, "listing", "duplicated"), ["duplicated", "GET", TREE])
    assert await place.host.list_tree("i/s") == whole


async def test_a_locked_storage_asks_to_come_back(place: Place) -> None:
    place.spoil(
        lambda faults: faults.fail("put", errors.RateLimited("it is locked just now")),
        ["status", "POST", PUT, {"times": 1, "status": 423}],
    )
    with pytest.raises(errors.RateLimited):
        await place.put("i/s/f")


# ---------------------------------------------------------------------------------------- the server


async def listing_of_two(place: Place) -> Listing:
    for number in range(2):
        await place.server.register(outgoing({"n": number}))
    return await place.server.list_objects()


async def test_a_listing_twice_over_is_not_taken_for_complete(place: Place) -> None:
    whole = await listing_of_two(place)
    place.spoil(lambda faults: setattr(faults, "listing", "duplicated"), ["duplicated", "GET", LISTING])
    if isinstance(place.server, HttpOaioServer):
        await place.server.register(outgoing({"n": 2}))  # else the server says "not modified"
    listing = await place.server.list_objects()
    assert {one.oaio_id for one in whole.objects} <= {one.oaio_id for one in listing.objects}
    assert len(listing.objects) == len({one.oaio_id for one in listing.objects}) == len(listing.skipped)


@pytest.mark.parametrize("kind", ["cut_body", "short", "long", "cut_head", "page"])
async def test_a_broken_listing_is_an_error_and_no_short_listing(place: Place, kind: str) -> None:
    await listing_of_two(place)
    if isinstance(place.server, HttpOaioServer):
        await place.server.register(outgoing({"n": 2}))
    place.spoil(lambda faults: faults.fail("list_objects", errors.Unreachable("cut")), [kind, "GET", LISTING])
    with pytest.raises((errors.Unreachable, errors.Protocol)):
        await place.server.list_objects()
    assert len((await place.server.list_objects()).objects) >= 2


async def test_a_session_that_ended_is_renewed_unnoticed(place: Place) -> None:
    version = outgoing({"n": 1})
    await place.server.register(version)
    place.spoil(lambda faults: setattr(faults, "session_over", True), ["expired", "POST", "/api/upload/"])
    following = next_version(version, {"n": 2})
    assert (await place.server.upload(following)).stamp == following.stamp


@pytest.mark.parametrize("kind", ["lost", "cut_body", "status_after"])
async def test_an_announcement_whose_answer_was_lost_is_not_made_twice(place: Place, kind: str) -> None:
    version = outgoing({"n": 1})
    await place.server.register(version)
    following = next_version(version, {"n": 2})
    place.spoil(
        lambda faults: faults.drop_answer("upload"), [kind, "POST", "/api/upload/", {"times": 1, "status": 502}]
    )
    with pytest.raises((errors.Unreachable, errors.ServerFault)):
        await place.server.upload(following)
    assert (await place.server.upload(following)).stamp == following.stamp
    (known,) = (await place.server.list_objects()).objects
    assert (known.stamp, dict(known.values)) == (following.stamp, {"n": 2})


@pytest.mark.parametrize("seconds", [-80.0, 80.0])
async def test_clocks_that_are_too_far_apart_are_told(place: Place, seconds: float) -> None:
    place.spoil(
        lambda faults: setattr(faults, "clock_skew", timedelta(seconds=seconds)),
        ["skew", "GET", "/api/current_stamp/", {"seconds": seconds}],
    )
    with pytest.raises(errors.ClockSkew):
        await place.server.current_stamp()


async def test_an_answer_that_takes_its_time_is_taken(place: Place) -> None:
    place.spoil(lambda faults: setattr(faults, "latency", 0.05), ["latency", "*", "*", {"seconds": 0.05}])
    assert len((await listing_of_two(place)).objects) == 2

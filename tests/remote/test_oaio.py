"""Calls of an oaio server that behaves as told: lost answers, hostile lists, what is sent and what is understood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from oaiofs import errors
from oaiofs.core import dialect, stamps
from oaiofs.core.model import OaioId, Outgoing, RemoteObject, Right
from oaiofs.remote.http import Surroundings
from oaiofs.remote.oaio import HttpOaioServer
from oaiofs.remote.reading import read_listing
from oaiofs.remote.retry import NO_RETRY, RetryPolicy
from tests.remote.oaiosite import CUT, NOW, PASSWORD, Django, client, listed, wire
from tests.remote.scripted import Reply, Request, json_reply, scripted
from tests.remote.worlds import next_version, outgoing


async def test_every_request_says_who_where_and_with_what() -> None:
    async with scripted(Django(oaio_stampz=listed())) as server:
        oaio = client(server)
        await oaio.list_objects()
        await oaio.aclose()
    for request in server.requests:
        assert request.headers["x-oaio-user"] == r"b'j\xc3\xb6rg'"
        assert request.headers["x-oaio-dvc"] == "b'pc'"
        assert request.headers["x-oaio-app"] == "b''"


async def test_a_superuser_may_name_another_user() -> None:
    async with scripted(Django(oaio_stampz=listed())) as server:
        around = Surroundings(retry=NO_RETRY)
        oaio = HttpOaioServer(
            server.url, "jörg", PASSWORD, device_id="", app_id="", acting_for="eve'\n", surroundings=around
        )
        await oaio.list_objects()
        await oaio.aclose()
    assert server.seen("/api/login/")[-1].json["username"] == "jörg"
    assert server.seen("/api/oaio_stampz/")[0].headers["x-oaio-user"] == 'b"eve\'\\n"'


async def test_an_idle_poll_is_one_request() -> None:
    async with scripted(Django(oaio_stampz=listed())) as server:
        oaio = client(server)
        await oaio.list_objects()
        before = len(server.requests)
        await oaio.list_objects()
        assert len(server.requests) == before + 1
        await oaio.aclose()


async def test_an_unmodified_list_is_not_sent_again() -> None:
    new = outgoing({"x": 1})

    def listing(request: Request) -> Reply:
        same = request.headers.get("if-none-match") == '"v1"'
        return Reply(304) if same else json_reply([wire(new)], ETag='"v1"')

    async with scripted(Django(oaio_stampz=listing)) as server:
        oaio = client(server)
        assert await oaio.list_objects() == await oaio.list_objects()
        assert len((await oaio.list_objects()).objects) == 1
        await oaio.aclose()


async def test_servers_that_say_nothing_of_it_check_no_bases() -> None:
    async with scripted(Django(oaio_stampz=listed())) as server:
        oaio = client(server)
        await oaio.list_objects()
        assert not oaio.checks_base
        await oaio.aclose()


async def test_not_modified_without_being_asked_is_not_an_empty_list() -> None:
    async with scripted(Django(oaio_stampz=lambda _: Reply(304))) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol):
            await oaio.list_objects()
        await oaio.aclose()


@pytest.mark.parametrize(("seconds", "fine"), [(0, True), (69, True), (-69, True), (70, False), (-70, False)])
async def test_clocks_are_compared_in_the_middle_of_the_request(seconds: int, fine: bool) -> None:
    # The request takes 20 s; the server answers with its time in the middle of them.
    theirs = stamps.make(NOW + timedelta(seconds=10 + seconds))
    site = Django(current_stamp=lambda _: json_reply({"current_stamp": theirs}))
    now = NOW
    async with scripted(site) as server:
        oaio = client(server, clock=lambda: now)
        await oaio.login()

        def slow(_request: Request) -> Reply:
            nonlocal now
            now += timedelta(seconds=20)
            return json_reply({"current_stamp": theirs})

        site.endpoints["current_stamp"] = slow
        if fine:
            assert await oaio.current_stamp() == theirs
        else:
            with pytest.raises(errors.ClockSkew, match="ahead of" if seconds < 0 else "behind"):
                await oaio.current_stamp()
        await oaio.aclose()


@pytest.mark.parametrize("content", [{}, [], None, {"current_stamp": "now"}, {"current_stamp": 5}])
async def test_what_is_no_time(content: object) -> None:
    async with scripted(Django(current_stamp=lambda _: json_reply(content))) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol):
            await oaio.current_stamp()
        await oaio.aclose()


async def test_malformed_objects_are_skipped_and_the_rest_goes_on() -> None:
    good, other = outgoing({"x": 1}), outgoing({"x": 2})
    elements = [wire(good), {"oaio_id": "bad"}, None, wire(other, csh_access_right="?"), wire(other)]
    text = "[" + ",".join(Reply_body(element) for element in elements) + "," + "[" * 5000 + "]" * 5000 + "]"
    async with scripted(Django(oaio_stampz=lambda _: Reply(200, text.encode()))) as server:
        oaio = client(server)
        listing = await oaio.list_objects()
        await oaio.aclose()
    assert [known.oaio_id for known in listing.objects] == [good.oaio_id, other.oaio_id]
    assert [skipped.what for skipped in listing.skipped] == [
        f"object {number} of the server's list" for number in (2, 3, 4, 6)
    ]


def Reply_body(content: object) -> str:  # noqa: N802
    return json_reply(content).body.decode()


async def test_of_an_object_listed_twice_the_newest_counts() -> None:
    old = outgoing({"x": 1})
    new = next_version(old, {"x": 2})
    async with scripted(Django(oaio_stampz=listed(wire(new), wire(old)))) as server:
        oaio = client(server)
        listing = await oaio.list_objects()
        await oaio.aclose()
    (known,) = listing.objects
    assert known.values == {"x": 2}
    assert len(listing.skipped) == 1


@pytest.mark.parametrize("reply", [json_reply({}), json_reply(None), Reply(200, b""), Reply(200, b"[")])
async def test_what_is_no_list(reply: Reply) -> None:
    async with scripted(Django(oaio_stampz=lambda _: reply)) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol):
            await oaio.list_objects()
        await oaio.aclose()


async def test_the_stored_object_is_what_the_server_says() -> None:
    new = outgoing({"x": 1}, "f")
    moved = stamps.make(NOW)

    def register(request: Request) -> Reply:
        return json_reply({"oaio_id": request.json["oaio_id"], "client_stamp": moved, "csh_access_right": ""})

    async with scripted(Django(register=register)) as server:
        oaio = client(server)
        stored = await oaio.register(new)
        await oaio.aclose()
    assert (stored.stamp, stored.values, stored.file_paths, stored.right) == (moved, {"x": 1}, ("f",), Right.CREATE)


@pytest.mark.parametrize("content", [{}, [], {"oaio_id": "another"}])
async def test_an_answer_about_another_object_is_refused(content: object) -> None:
    async with scripted(Django(register=lambda _: json_reply(content))) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol):
            await oaio.register(outgoing())
        await oaio.aclose()


async def test_a_registration_whose_answer_was_lost() -> None:
    new = outgoing({"x": 1})
    replies = iter([CUT, json_reply({"error": "exists"}, 400)])
    site = Django(register=lambda _: next(replies), oaio_stampz=listed(wire(new)))
    async with scripted(site) as server:
        oaio = client(server, retry=RetryPolicy())
        stored = await oaio.register(new)
        await oaio.aclose()
    assert (stored.oaio_id, stored.stamp) == (new.oaio_id, new.stamp)


async def test_a_registration_that_is_refused() -> None:
    new = outgoing({"x": 1})
    site = Django(register=lambda _: json_reply({"error": "no stamp"}, 400), oaio_stampz=listed())
    async with scripted(site) as server:
        oaio = client(server)
        with pytest.raises(errors.Protocol, match="no stamp"):
            await oaio.register(new)
        site.endpoints["oaio_stampz"] = listed(wire(new, client_values={"x": 2}))
        with pytest.raises(errors.RemoteExists):
            await oaio.register(new)
        await oaio.aclose()


async def upload(reply: Reply, version: Outgoing) -> tuple[RemoteObject | errors.RemoteError, Request]:
    async with scripted(Django(upload=lambda _: reply)) as server:
        oaio = client(server)
        try:
            result: RemoteObject | errors.RemoteError = await oaio.upload(version)
        except errors.RemoteError as error:
            result = error
        await oaio.aclose()
    return result, server.seen("/api/upload/")[-1]


async def test_an_upload_names_its_base() -> None:
    version = next_version(outgoing({"x": 1}), {"x": 2})
    result, request = await upload(json_reply({"oaio_id": version.oaio_id}), version)
    assert isinstance(result, RemoteObject)
    assert request.headers["x-oaio-base"] == version.base
    assert request.json == wire(version)
    assert tuple(request.json) == dialect.WIRE_KEYS


async def test_an_upload_that_conflicts() -> None:
    version = next_version(outgoing({"x": 1}), {"x": 2})
    theirs = wire(version, client_values={"x": 3})
    contents: list[object] = [
        {"error": "moved", "current": theirs}, {"error": "moved"}, {"current": "?"}, [], "<html>",
    ]  # fmt: skip
    for content in contents:
        result, _ = await upload(json_reply(content, 409), version)
        assert isinstance(result, errors.Conflict)


async def test_an_upload_whose_answer_was_lost() -> None:
    version = next_version(outgoing({"x": 1}), {"x": 2}, "f")
    result, _ = await upload(json_reply({"error": "moved", "current": wire(version)}, 409), version)
    assert isinstance(result, RemoteObject)
    assert result.stamp == version.stamp


async def test_delete_of_what_is_gone_succeeds() -> None:
    async with scripted(Django(delete=lambda _: Reply(404))) as server:
        oaio = client(server)
        await oaio.delete(OaioId("a/b?c"))
        await oaio.aclose()
    first, look = server.seen("/api/delete/")[-2:]
    assert first.json == {"oaio_id": "a/b?c"}
    assert look.method == "GET", "whether there is such an address at all"


async def test_a_server_with_the_newer_addresses_is_asked_there() -> None:
    """Its 404 at the classic one is not taken for an object that is gone."""
    new = outgoing({"x": 1})
    version = next_version(new, {"x": 2})

    def stored(request: Request) -> Reply:
        return json_reply(request.json if request.body else {})

    newer = Django(registerA=stored, uploadA=stored, deleteA=stored, oaio_stampz=listed())
    newer.posts = {"login", "logout", "registerA", "uploadA", "deleteA"}
    async with scripted(newer) as server:
        oaio = client(server)
        await oaio.delete(new.oaio_id)
        assert (await oaio.register(new)).stamp == new.stamp
        assert (await oaio.upload(version)).stamp == version.stamp
        await oaio.aclose()
    posts = [request.path for request in server.requests if request.method == "POST" and "log" not in request.path]
    assert posts == ["/api/delete/", "/api/deleteA/", "/api/registerA/", "/api/uploadA/"]


async def test_a_server_without_any_such_address_is_asked_once() -> None:
    neither = Django()
    neither.posts = {"login", "logout"}
    async with scripted(neither) as server:
        oaio = client(server)
        for _ in range(2):
            with pytest.raises(errors.RemoteNotFound):
                await oaio.upload(next_version(outgoing({"x": 1}), {"x": 2}))
        await oaio.aclose()
    looks = [request.path for request in server.requests if request.method == "GET" and "upload" in request.path]
    assert looks == ["/api/upload/", "/api/uploadA/"]


@pytest.mark.parametrize(("right", "spelled"), [("C", "U"), ("CaR", "UaR")])
async def test_rights_are_written_as_the_server_spells_them(right: str, spelled: str) -> None:
    new = outgoing({"x": 1})
    handler = Django(oaio_stampz=listed(wire(new, csh_access_right=right)), subscribe=lambda _: json_reply({"Pid": 1}))
    async with scripted(handler) as server:
        oaio = client(server)
        await oaio.list_objects()
        await oaio.subscribe(new.oaio_id, "bob", Right.UPDATE)
        await oaio.aclose()
    assert server.seen("/api/subscribe/")[-1].json["access_right"] == spelled


async def test_subscribers_that_make_no_sense_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    entries = [
        {"username": "a", "access_right": "r"},
        {"username": "b", "access_right": "UaR"},
        {"username": "c", "access_right": "all"},
        {"access_right": "r"},
        {"username": ["d"], "access_right": "r"},
        7,
    ]
    async with scripted(Django(user_subz=listed(*entries))) as server:
        oaio = client(server)
        rights = await oaio.subscribers(OaioId("⁄id/x"))
        await oaio.aclose()
    assert rights == {"a": Right.READ, "b": Right.UPDATE}
    assert len([record for record in caplog.records if "left out" in record.getMessage()]) == 4
    assert "/api/user_subz/%E2%81%84id%2Fx" in [request.target for request in server.requests]


async def test_a_storage_account_is_asked_for_with_its_address() -> None:
    arguments = {"root_folder": "a", "email": "e", "password": "stor4ge", "base_url": "http://x", "other": None}
    async with scripted(Django(csh_args=lambda _: json_reply(arguments))) as server:
        oaio = client(server)
        account = await oaio.storage_account("Digi")
        await oaio.aclose()
    assert account.arguments == {name: text for name, text in arguments.items() if text is not None}
    assert "stor4ge" not in repr(account)
    (request,) = server.seen("/api/csh_args/Digi")
    assert "base-url" in request.headers["x-oaio-features"]


@pytest.mark.parametrize(
    ("content", "kind"), [({}, errors.RemoteNotFound), ([], errors.Protocol), ({"a": 1}, errors.Protocol)]
)
async def test_what_is_no_storage_account(content: object, kind: type[Exception]) -> None:
    async with scripted(Django(csh_args=lambda _: json_reply(content))) as server:
        oaio = client(server)
        with pytest.raises(kind):
            await oaio.storage_account("Digi")
        await oaio.aclose()


@pytest.mark.parametrize("reply", [Reply(500), CUT, Reply(403)])
async def test_closing_never_fails(reply: Reply) -> None:
    site = Django(oaio_stampz=listed())
    async with scripted(site) as server:
        oaio = client(server)
        await oaio.login()
        server.handler = lambda _: reply
        await oaio.aclose()
        await oaio.aclose()


async def test_passwords_do_not_leave_for_another_host() -> None:
    async with scripted(lambda _: json_reply({})) as other:
        away = Reply(307, headers={"Location": f"http://localhost:{other.port}/api/login/"})
        async with scripted(lambda request: away if request.method == "POST" else json_reply({})) as server:
            oaio = client(server)
            with pytest.raises(errors.RemoteError):
                await oaio.login()
            await oaio.aclose()
    assert other.requests == []


def test_a_flood_of_bad_objects_is_told_briefly() -> None:
    good = wire(outgoing({"x": 1}))
    listing = read_listing([*[1] * 100_000, good])
    assert len(listing.objects) == 1
    assert len(listing.skipped) == 1001
    assert listing.skipped[-1].what == "99000 more objects of the server's list"


async def test_a_server_that_keeps_no_log_is_not_asked_for_it() -> None:
    async with scripted(Django(current_stamp=lambda _: json_reply({}))) as server:
        oaio = client(server)
        for _ in range(2):
            with pytest.raises(errors.Unsupported):
                await oaio.announced_versions(OaioId("x"))
        await oaio.aclose()
    assert server.seen("/api/oaio_log/x") == []
    assert len(server.seen("/api/current_stamp/")) == 1


async def test_malformed_versions_of_a_log_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    good = outgoing({"k": 1}, "a")
    planted = [wire(good), {"oaio_id": good.oaio_id}, wire(outgoing({})), 5, wire(good, client_values={"old": 1})]
    reply = json_reply(planted, X_OAIO_features="other, log")
    async with scripted(Django(current_stamp=lambda _: reply, oaio_log=lambda _: reply)) as server:
        oaio = client(server)
        told = await oaio.announced_versions(good.oaio_id)
        await oaio.aclose()
    assert [(one.stamp, one.values, one.file_paths) for one in told] == [(good.stamp, {"k": 1}, ("a",))]
    assert "2 logged versions" in caplog.text

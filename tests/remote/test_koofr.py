"""The Koofr driver, against a host that behaves as told: signing in, puts, copies, lost answers, wrong bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import FileFact, StorageAccount
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.http import Surroundings
from oaiofs.remote.koofr import KoofrHost
from oaiofs.remote.retry import NO_RETRY, RetryPolicy
from tests.remote.koofr_site import (
    CONTENT,
    CUT,
    MD5,
    MISSING,
    PRIMARY,
    Koofr,
    account,
    actions,
    entry,
    file_record,
    folder_record,
    get,
    lines,
    opened,
    put,
)
from tests.remote.scripted import Reply, Request, json_reply, one_after_the_other, scripted

# ---- signing in


async def test_signing_in_is_done_once_for_all() -> None:
    site = Koofr(listrecursive=Reply(200, b'{"type":"file","path":"/","file":{"type":"dir"}}\n'))
    async with scripted(site) as server:
        host = opened(server)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(host.list_tree, "d")
        await host.aclose()
    assert site.token == 1
    assert len(server.seen("/api/v2/mounts")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
async def test_basic_where_there_is_no_token(status: int) -> None:
    site = Koofr(remove=Reply(200))
    site.takes_basic = True
    async with scripted(lambda request: Reply(status) if request.path == "/token" else site(request)) as server:
        host = opened(server)
        await host.remove("f")
        await host.aclose()


async def test_a_wrong_account_is_named_but_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted(Koofr()) as server:
        host = opened(server, password="wr0ng")
        with pytest.raises(errors.Unauthorized) as caught:
            await host.remove("f")
        with pytest.raises(errors.Unauthorized):
            await get(host)
        await host.aclose()
    assert "wr0ng" not in str(caught.value) + caplog.text + repr(host) + repr(host._api)


async def test_a_session_that_is_over_is_renewed_once() -> None:
    site = Koofr(remove=Reply(200), get=Reply(200, CONTENT))
    async with scripted(site) as server:
        host = opened(server)
        await host.remove("f")
        site.token += 1
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(host.remove, "f")
        assert len(server.seen("/token")) == 2
        site.token += 1
        assert await get(host) == CONTENT
        site.token += 1
        assert (await host.quota()).total > 0
        site.actions["remove"] = Reply(401)
        site.actions["get"] = Reply(401)
        with pytest.raises(errors.Unauthorized):
            await host.remove("f")
        with pytest.raises(errors.Unauthorized):
            await get(host)
        await host.aclose()


@pytest.mark.parametrize(
    "mounts",
    [
        [{"id": "other", "name": "DIGIstorage", "isPrimary": False}, PRIMARY],
        [{"id": "x", "name": "USB"}, {"id": "m 1", "name": "DIGIstorage"}],
        [None, {"id": 7, "isPrimary": True}, {"id": "", "isPrimary": True}, PRIMARY],
    ],
)
async def test_the_main_storage_is_chosen(mounts: list[Any]) -> None:
    site = Koofr(remove=Reply(200))
    site.mounts = mounts
    async with scripted(site) as server:
        host = opened(server)
        await host.remove("f")
        await host.aclose()


@pytest.mark.parametrize("mounts", [[], [{"id": "x", "name": "USB"}], None, {}])
async def test_no_main_storage(mounts: Any) -> None:
    site = Koofr()
    site.mounts = mounts
    async with scripted(site) as server:
        host = opened(server)
        with pytest.raises(errors.Protocol):
            await host.remove("f")
        await host.aclose()


async def test_quota_is_told_in_mebibytes_and_may_be_missing() -> None:
    site = Koofr()
    async with scripted(site) as server:
        host = opened(server)
        quota = await host.quota()
        assert (quota.total, quota.used) == (10 << 30, 3 << 20)
        site.mounts = [{"id": "m 1", "spaceTotal": -1, "spaceUsed": "lots"}]
        quota = await host.quota()
        assert (quota.total, quota.used) == (0, 0)
        site.mounts = [{"id": "m 1", "spaceTotal": 1 << 61, "spaceUsed": 10**400}]
        quota = await host.quota()
        assert (quota.total, quota.used) == (0, 0), "more than statfs can say is not told"
        await host.aclose()


# ---- put


async def test_put_is_repeatable_and_checked() -> None:
    async with scripted(Koofr(put=json_reply(file_record()))) as server:
        host = opened(server, root_folder="/root/")
        assert await put(host) == FileFact(10, MD5, 1_700_000_000_123_000_000)
        await host.aclose()
    request = server.requests[-1]
    assert request.query == {
        "path": "/root/d",
        "filename": "f",
        "info": "true",
        "overwrite": "true",
        "autorename": "false",
        "overwriteIgnoreNonexisting": "",
        "modified": "1700000000123",
    }
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    head, _, rest = request.body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary)
    assert rest == CONTENT + b"\r\n--" + boundary + b"--\r\n"
    assert b'name="file"; filename="f"' in head


async def test_a_strange_name_stays_in_its_place() -> None:
    async with scripted(Koofr(put=json_reply(file_record()))) as server:
        host = opened(server)
        await put(host, 'ä "&?#%2F;=+.txt')
        await host.aclose()
    assert server.requests[-1].query["filename"] == 'ä "&?#%2F;=+.txt'
    assert server.requests[-1].body.count(b'"') == 4


@pytest.mark.parametrize("changes", [{"size": 9}, {"hash": "0" * 32}, {"size": 11, "hash": ""}])
async def test_put_of_other_bytes_than_were_sent(changes: dict[str, object]) -> None:
    async with scripted(Koofr(put=json_reply(file_record(**changes)))) as server:
        host = opened(server)
        with pytest.raises(errors.Corrupt):
            await put(host)
        await host.aclose()


@pytest.mark.parametrize("md5", ["", None, "not an MD5", 5, "sha256:" + "0" * 64])
async def test_put_without_a_hash(md5: object) -> None:
    async with scripted(Koofr(put=json_reply(file_record(hash=md5)))) as server:
        host = opened(server)
        assert await put(host) == FileFact(10, "", 1_700_000_000_123_000_000)
        await host.aclose()


async def test_put_answered_by_a_list_of_names() -> None:
    async with scripted(Koofr(put=json_reply([{"name": "f"}]), info=json_reply(file_record()))) as server:
        host = opened(server)
        assert (await put(host)).md5 == MD5
        await host.aclose()
    assert server.requests[-1].query == {"path": "/d/f"}


async def test_put_is_sent_again_from_its_beginning() -> None:
    replies = one_after_the_other(Reply(503), CUT, json_reply(file_record()))
    async with scripted(Koofr(put=replies, info=MISSING)) as server:
        host = opened(server, RetryPolicy())
        assert (await put(host)).md5 == MD5
        await host.aclose()
    assert len({request.body for request in server.requests if request.path.endswith("/put")}) == 1
    assert actions(server) == ["put", "info", "put", "info", "put"]


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (json_reply(file_record()), ["put", "info"]),
        (json_reply(file_record(b"9876543210")), ["put", "info", "put"]),
        (json_reply(file_record(hash=None)), ["put", "info", "put"]),
        (Reply(405), ["put", "info", "put"]),
    ],
)
async def test_a_put_whose_answer_was_lost_is_not_sent_again_where_it_arrived(info: Reply, expected: list[str]) -> None:
    async with scripted(Koofr(put=one_after_the_other(CUT, json_reply(file_record())), info=info)) as server:
        host = opened(server, RetryPolicy())
        assert (await put(host)).md5 == MD5
        await host.aclose()
    assert actions(server) == expected


@pytest.mark.parametrize("status", [400, 409])
async def test_put_whose_answer_was_lost(status: int) -> None:
    async with scripted(Koofr(put=Reply(status), info=json_reply(file_record()))) as server:
        host = opened(server)
        assert (await put(host)).md5 == MD5
        await host.aclose()


@pytest.mark.parametrize("info", [MISSING, json_reply(file_record(b"other")), json_reply(folder_record())])
async def test_put_that_is_refused(info: Reply) -> None:
    site = Koofr(put=json_reply({"error": {"message": "NotFile"}}, 409), info=info)
    async with scripted(site) as server:
        host = opened(server)
        with pytest.raises(errors.Conflict, match="NotFile"):
            await put(host)
        await host.aclose()


async def test_put_where_the_storage_is_full() -> None:
    async with scripted(Koofr(put=Reply(413))) as server:
        host = opened(server, RetryPolicy())
        with pytest.raises(errors.StorageFull):
            await put(host)
        await host.aclose()
    assert actions(server) == ["put"]


async def test_put_refused_before_it_was_sent_to_its_end() -> None:
    full = b"HTTP/1.1 413 Full\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def serve(stream: trio.SocketStream) -> None:
        request = await stream.receive_some(65536)
        if b"/files/put" in request:
            await stream.send_all(full)
            return
        body = json.dumps({"mounts": [PRIMARY]}).encode()
        head = b"HTTP/1.1 200 OK\r\nX-Koofr-Token: t\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        host = KoofrHost(account(), base_url=url, surroundings=Surroundings(retry=NO_RETRY))
        host._saw("/d")
        # How far the refusal gets past the unsent bytes is the kernel's choice: it may be a reset connection.
        with pytest.raises((errors.StorageFull, errors.Unreachable)):
            await put(host, content=bytes(30_000_000))
        await host.aclose()
        nursery.cancel_scope.cancel()


class Folders:
    """Folders that exist, and a put that needs its own."""

    def __init__(self, *existing: str, taken: int = 409) -> None:
        self.existing = {"/", *existing}
        self.taken = taken

    def folder(self, request: Request) -> Reply:
        parent = request.query["path"]
        made = f"{parent.rstrip('/')}/{request.json['name']}"
        if parent not in self.existing:
            return MISSING
        if made in self.existing:
            return Reply(self.taken)
        self.existing.add(made)
        return Reply(201)

    def info(self, request: Request) -> Reply:
        return json_reply(folder_record()) if request.query["path"] in self.existing else MISSING

    def put(self, request: Request) -> Reply:
        return json_reply(file_record()) if request.query["path"] in self.existing else MISSING

    def site(self) -> Koofr:
        return Koofr(folder=self.folder, info=self.info, put=self.put)


async def test_missing_folders_are_made_from_the_lowest_that_exists() -> None:
    folders = Folders("/root", "/root/id")
    async with scripted(folders.site()) as server:
        host = opened(server, root_folder="root")
        await put(host, "id/stamp/sub/f")
        await put(host, "id/stamp/sub/g")
        await host.aclose()
    assert "/root/id/stamp/sub" in folders.existing
    assert actions(server) == ["put", "folder", "folder", "folder", "put", "put"]


async def test_a_large_file_is_not_sent_at_a_venture() -> None:
    folders, large = Folders(), bytes(100_000)
    site = folders.site()
    site.actions["put"] = lambda _: json_reply(file_record(large))
    async with scripted(site) as server:
        host = opened(server)
        await put(host, "d/f", large)
        await put(host, "d/g", large)
        await host.aclose()
    assert actions(server) == ["folder", "put", "put"]


@pytest.mark.parametrize("taken", [400, 409])
async def test_folders_that_exist_are_fine(taken: int) -> None:
    folders = Folders("/d", taken=taken)
    site = folders.site()
    site.actions["put"] = one_after_the_other(MISSING, json_reply(file_record()))
    async with scripted(site) as server:
        host = opened(server)
        await put(host)
        await host.aclose()


async def test_a_folder_that_vanished_is_made_again() -> None:
    folders = Folders("/d")
    async with scripted(folders.site()) as server:
        host = opened(server)
        await put(host)
        folders.existing.discard("/d")
        await put(host)
        await host.aclose()
    assert "/d" in folders.existing


async def test_a_file_in_place_of_a_folder() -> None:
    site = Koofr(put=MISSING, folder=Reply(409), info=json_reply(file_record()))
    async with scripted(site) as server:
        host = opened(server)
        with pytest.raises(errors.Conflict):
            await put(host)
        await host.aclose()


async def test_transfers_are_limited() -> None:
    async with scripted(Koofr(put=json_reply(file_record()))) as server:
        host = opened(server)
        running = most = 0
        met = trio.Event()

        async def watched() -> AsyncIterator[bytes]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running > 1:
                met.set()
            with trio.move_on_after(60):
                await met.wait()
            await trio.testing.wait_all_tasks_blocked()
            yield CONTENT
            running -= 1

        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(host.put, f"d/{number}", watched, 10, 0)
        await host.aclose()
    assert 2 <= most <= 4


# ---- copy


@pytest.mark.parametrize("status", [400, 409])
async def test_a_copy_whose_answer_was_lost(status: int) -> None:
    site = Koofr(copy=one_after_the_other(CUT, Reply(status)), info=json_reply(file_record()))
    async with scripted(site) as server:
        host = opened(server, RetryPolicy())
        await host.copy("a/f", "b/f", 5_000_000)
        await host.aclose()
    (_, request) = server.seen("/api/v2/mounts/m%201/files/copy")
    assert request.query == {"path": "/a/f"}
    assert request.json == {"toMountId": "m 1", "toPath": "/b/f", "modified": 5}


@pytest.mark.parametrize(("second", "fine"), [(CONTENT, True), (b"changed", False)])
async def test_a_folder_copy_whose_answer_was_lost(second: bytes, fine: bool) -> None:
    def listing(request: Request) -> Reply:
        content = CONTENT if request.query["path"] == "/a" else second
        return lines(entry("/", folder_record()), entry("/f", file_record(content)))

    site = Koofr(
        copy=one_after_the_other(CUT, Reply(409)), info=json_reply(folder_record()), listrecursive=listing
    )
    async with scripted(site) as server:
        host = opened(server, RetryPolicy())
        if fine:
            await host.copy("a", "b")
        else:  # half of it, or somebody else's: who knows what was there is asked
            with pytest.raises(errors.Corrupt):
                await host.copy("a", "b")
        await host.aclose()


@pytest.mark.parametrize("status", [405, 501])
async def test_a_host_that_cannot_copy_is_asked_once(status: int) -> None:
    async with scripted(Koofr(copy=Reply(status))) as server:
        host = opened(server)
        for _ in range(2):
            with pytest.raises(errors.Unsupported):
                await host.copy("a/f", "b/f")
        await host.aclose()
    assert len(server.seen("/api/v2/mounts/m%201/files/copy")) == 1


async def test_a_target_that_was_there_before_is_no_lost_answer() -> None:
    async with scripted(Koofr(copy=Reply(409), info=json_reply(file_record()))) as server:
        host = opened(server)
        with pytest.raises(errors.RemoteExists):
            await host.copy("a/f", "b/f")
        await host.aclose()


async def test_small_files_at_once_into_one_new_folder_make_it_once() -> None:
    """Each finds it missing, one makes it, and the others see that when it is their turn."""
    there: set[str] = set()

    def stored(request: Request) -> Reply:
        return json_reply(file_record()) if request.query["path"] in there else MISSING

    def made(request: Request) -> Reply:
        folder = f"{request.query['path'].rstrip('/')}/{request.json['name']}"
        if folder.rpartition("/")[0] not in {"", *there}:
            return MISSING
        assert folder not in there, f"{folder} is made twice"
        there.add(folder)
        return json_reply(folder_record(request.json["name"]), 201)

    async with scripted(Koofr(put=stored, folder=made)) as server:
        host = opened(server)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(put, host, "id/stamp/f")
        await put(host, "id/stamp/f")
        there.clear()  # by somebody else
        await put(host, "id/stamp/f")
        await host.aclose()
    assert actions(server)[-5:] == ["put", "folder", "folder", "folder", "put"]


async def test_a_copy_into_a_known_folder_is_one_request() -> None:
    async with scripted(Koofr(copy=json_reply({"name": "b"}), put=json_reply(file_record(bytes(100_000))))) as server:
        host = opened(server)
        await host.copy("id/1", "id/2")
        await put(host, "id/2/f", bytes(100_000))
        await host.aclose()
    assert actions(server) == ["copy", "put"]


# ---- which host


def test_the_address_that_wins() -> None:
    def address(csh_id: str, overrides: dict[str, str], **arguments: str) -> str:
        return repr(open_storage(StorageAccount(csh_id, arguments), overrides))

    assert address("Digi", {}) == "<KoofrHost digistorage.es>"
    assert address("Koofr", {}) == "<KoofrHost app.koofr.net>"
    assert address("Digi", {"Koofr": "https://x"}, base_url="https://own.example") == "<KoofrHost own.example>"
    assert address("Digi", {"Digi": "localhost:1"}, base_url="https://own.example") == "<KoofrHost localhost:1>"
    assert address("Mine", {"Mine": "localhost:1"}) == "<KoofrHost localhost:1>"


def test_what_is_no_host() -> None:
    with pytest.raises(errors.Unsupported, match="Goodrive"):
        open_storage(StorageAccount("Goodrive", {}), {})
    with pytest.raises(errors.ConfigError):
        open_storage(StorageAccount("Digi", {"base_url": "http://own.example"}), {})
    with pytest.raises(errors.ConfigError):
        open_storage(StorageAccount("Digi", {"root_folder": "a/../../b"}), {})
    open_storage(StorageAccount("Digi", {"base_url": "http://own.example"}), {}, insecure=True)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080", "https://localhost", "http://[::1]:1/x", "https://a.localhost"]
)
def test_a_server_elsewhere_names_no_storage_on_this_machine(address: str) -> None:
    """It would have requests sent to whatever program listens here."""
    account = StorageAccount("Digi", {"email": "e", "password": "p", "base_url": address})
    with pytest.raises(errors.ConfigError, match="--storage-url"):
        open_storage(account, {}, here=False)
    for opened_host in (
        open_storage(account, {}, here=True),
        open_storage(account, {"Digi": address}, here=False),
        open_storage(account, {"Digi": "https://own.example"}, here=False),
    ):
        assert repr(opened_host).startswith("<KoofrHost")

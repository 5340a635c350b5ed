"""Sharing, deleting and wiping through the library: rights as they are, refusals as errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from oaiofs import errors
from oaiofs.cache import objects, trash
from oaiofs.client import OaioClient
from tests.devicekit import Hosts

from .conftest import Clients, HttpClients


async def shared(clients: Clients, desk: OaioClient, name: str, right: str) -> str:
    """A letter of the desk's user, shared; its id."""
    letter = await desk.register_file("letter.txt", b"dear bob")
    assert await desk.upsert_subscription(letter.oaio_id, name, right) > 0
    return letter.oaio_id


async def test_a_subscription_is_made_changed_listed_and_ended(clients: Clients) -> None:
    alice, bob = clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone:
        assert await phone.synchronize_with_server_if_online()
        assert phone.client_objectz == {}
        letter = await shared(clients, desk, bob.name, "r")
        await phone.synchronize_with_server_if_online()
        assert phone.client_objectz[letter].csh_access_right == "r"
        assert await phone.read_file(letter) == b"dear bob"
        rows = await desk.userz_access(letter)
        assert rows == sorted(rows, key=lambda row: row["access_right"] + row["username"])
        rights = {row["username"]: row["access_right"] for row in rows}
        assert (rights[alice.name], rights[bob.name]) == ("C", "r")
        assert {row["access_right"] for row in await desk.userz_access("")} == {"x"}
        key = await desk.upsert_subscription(letter, bob.name, "U")
        assert key == await desk.upsert_subscription(letter, bob.name, "UaR") > 0
        await phone.synchronize_with_server_if_online()
        await phone.update_object(letter, {"by": "bob"})
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[letter].client_values["by"] == "bob"
        await desk.unsubscribe(letter, bob.name)
        with pytest.raises(errors.Refused, match="no longer lists 1 of 1"):
            await phone.synchronize_with_server_if_online()
        await phone.synchronize_with_server_if_online(confirmed=True)
        assert phone.client_objectz == {}
        assert await desk.upsert_subscription(letter, bob.name, "x") == 0


@pytest.mark.parametrize(
    ("right", "may"), [("r", ""), ("U", "update"), ("D", "update delete"), ("C", "update delete share")]
)
async def test_each_right_allows_what_it_says_and_refusals_change_nothing(
    clients: Clients, right: str, may: str
) -> None:
    alice, bob, carol = clients.user(), clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone:
        letter = await shared(clients, desk, bob.name, right)
        await phone.synchronize_with_server_if_online()
        before = phone.client_objectz[letter]
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: phone.update_object(letter, {"by": "bob"}),
            lambda: phone.update_file(letter, file_content=b"by bob"),
            lambda: phone.update_folder(letter),
        ]
        for change in changes:
            if "update" in may:
                await change()
            else:
                with pytest.raises(errors.AccessDenied, match="may only read"):
                    await change()
        if "share" in may:
            assert await phone.upsert_subscription(letter, carol.name) > 0
        else:
            with pytest.raises(errors.AccessDenied, match="needs right C"):
                await phone.upsert_subscription(letter, carol.name)
        if "delete" in may:
            await phone.unregister_object(letter)
            assert phone.client_objectz == {}
        else:
            with pytest.raises(errors.AccessDenied, match="needs right D or C"):
                await phone.unregister_object(letter)
            kept = phone.client_objectz[letter]
            assert "update" in may or kept == before
        await desk.synchronize_with_server_if_online(confirmed=True)
        assert (letter in desk.client_objectz) is ("delete" not in may)


async def test_ending_the_own_subscription_lets_the_object_go_and_the_creators_stays(clients: Clients) -> None:
    alice, bob = clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone:
        letter = await shared(clients, desk, bob.name, "r")
        await phone.synchronize_with_server_if_online()
        await phone.unsubscribe(letter, bob.name)
        assert phone.client_objectz == {}
        with pytest.raises(errors.Forbidden):
            await desk.unsubscribe(letter, alice.name)
        assert letter in desk.client_objectz
        with pytest.raises(errors.UsageError, match="no access right"):
            await desk.upsert_subscription(letter, bob.name, "w")
        with pytest.raises(errors.RemoteNotFound):
            await desk.upsert_subscription(letter, "nobody of that name")


async def stored(client: OaioClient, oaio_id: str, stamp: str) -> list[str]:
    host = await client._open.hosts("Digi")
    try:
        return sorted(await host.list_tree(f"{oaio_id}/{stamp}"))
    except errors.RemoteNotFound:
        return []


@pytest.mark.parametrize("wipe", [False, True])
async def test_a_deleted_object_is_in_the_trash_unless_its_files_are_wiped(clients: Clients, wipe: bool) -> None:
    alice = clients.user()
    async with clients.open(alice) as desk, clients.open(alice, "laptop") as laptop:
        letter = await desk.register_file("letter.txt", b"dear bob")
        newer = await desk.update_file(letter.oaio_id, file_content=b"dear all")
        await laptop.synchronize_with_server_if_online()
        await desk.unregister_object(letter.oaio_id, wipe_files=wipe)
        assert desk.client_objectz == {}
        entries = trash.entries(str(desk.client_root))
        assert [entry.note.oaio_id for entry in entries] == ([] if wipe else [letter.oaio_id])
        for stamp in (letter.server_stamp, newer.server_stamp):
            assert await stored(desk, letter.oaio_id, stamp) == ([] if wipe else ["letter.txt"])
        await laptop.synchronize_with_server_if_online(confirmed=True)
        assert laptop.client_objectz == {}
        with pytest.raises(errors.NotFound):
            await desk.unregister_object(letter.oaio_id)


async def test_offline_a_deletion_waits_and_a_wipe_is_refused(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice) as desk:
        letter = await desk.register_file("letter.txt", b"dear bob")
    async with clients.open(alice, offline=True) as desk:
        with pytest.raises(errors.Unreachable):
            await desk.unregister_object(letter.oaio_id, wipe_files=True)
        assert letter.oaio_id in desk.client_objectz
        await desk.unregister_object(letter.oaio_id)
        assert desk.client_objectz == {}
    async with clients.open(alice, "laptop") as laptop:
        await laptop.synchronize_with_server_if_online()
        assert letter.oaio_id in laptop.client_objectz
        async with clients.open(alice) as desk:
            await desk.synchronize_with_server_if_online()
        await laptop.synchronize_with_server_if_online(confirmed=True)
        assert laptop.client_objectz == {}


@pytest.mark.parametrize("clients", ["twin"], indirect=True)
async def test_what_could_not_be_wiped_is_said_and_tried_again(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice) as desk:
        letter = await desk.register_file("letter.txt", b"dear bob")
        hosts = desk._open.hosts
        assert isinstance(hosts, Hosts)
        hosts.faults.fail("remove", errors.Unreachable("the storage host is away"), times=2)
        with pytest.raises(errors.Unreachable, match="the storage host is away"):
            await desk.unregister_object(letter.oaio_id, wipe_files=True)
        assert letter.oaio_id not in desk.client_objectz
        assert await stored(desk, letter.oaio_id, letter.server_stamp) == ["letter.txt"]
        await desk.synchronize_with_server_if_online()
        assert await stored(desk, letter.oaio_id, letter.server_stamp) == []


async def test_offline_the_right_counts_that_was_last_seen(clients: Clients) -> None:
    alice, bob = clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone:
        letter = await shared(clients, desk, bob.name, "r")
        await phone.synchronize_with_server_if_online()
        before = phone.client_objectz
    async with clients.open(bob, "phone", offline=True) as phone:
        for attempt in (phone.unregister_object(letter), phone.update_object(letter, {"by": "bob"})):
            with pytest.raises(errors.AccessDenied):
                await attempt
        assert phone.client_objectz == before


async def test_only_a_superuser_wipes_users(clients: Clients) -> None:
    root, alice, bob = clients.user(superuser=True), clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone, clients.open(root, "office") as office:
        await shared(clients, desk, bob.name, "r")
        await phone.synchronize_with_server_if_online()
        with pytest.raises(errors.Forbidden):
            await phone.wipe_user(alice.name)
        await office.wipe_user(alice.name)
        assert alice.name not in {row["username"] for row in await office.userz_access("")}
        with pytest.raises(errors.Refused, match="no longer lists 1 of 1"):
            await phone.synchronize_with_server_if_online()
        await phone.synchronize_with_server_if_online(confirmed=True)
        assert phone.client_objectz == {}
        with pytest.raises(errors.RemoteNotFound):
            await office.wipe_user(alice.name)
        if isinstance(clients, HttpClients):
            with pytest.raises(errors.Unauthorized):
                await desk.synchronize_with_server_if_online()


async def test_only_a_superuser_acts_for_another_user(clients: Clients) -> None:
    root, alice, bob = clients.user(superuser=True), clients.user(), clients.user()
    async with clients.open(root, "office", acting_for=alice.name) as office, clients.open(alice) as desk:
        note = await office.register_object({"_name": "made for alice"})
        assert (note.username, office.user_name) == (alice.name, alice.name)
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[note.oaio_id].csh_access_right == "C"
        rights = {row["username"]: row["access_right"] for row in await office.userz_access(note.oaio_id)}
        assert (rights[alice.name], rights[root.name]) == ("C", "x")
    async with clients.open(bob, "phone", acting_for=alice.name) as phone:
        with pytest.raises(errors.Forbidden):
            await phone.synchronize_with_server_if_online()
        with pytest.raises(errors.Forbidden):
            await phone.register_object({})
        with pytest.raises(errors.Forbidden):
            await phone.upsert_subscription(note.oaio_id, bob.name, "C")
        with pytest.raises(errors.Forbidden):
            await phone.userz_access(note.oaio_id)


async def test_no_other_users_root_path_has_files_of_this_machine_sent(clients: Clients) -> None:
    alice, mallory = clients.user(), clients.user()
    secret = clients.folder / "ssh"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    async with clients.open(mallory) as theirs, clients.open(alice) as desk:
        trap = await theirs.register_object({"_name": "trap", "_root_path": str(secret)})
        await theirs.upsert_subscription(trap.oaio_id, alice.name, "U")
        await desk.synchronize_with_server_if_online()
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: desk.update_folder(trap.oaio_id),
            lambda: desk.update_file(trap.oaio_id, "key"),
            lambda: desk.update_object(trap.oaio_id, {"_file_paths": ["key"]}),
        ]
        for attempt in attempts:
            with pytest.raises(errors.AccessDenied, match="was chosen on another device"):
                await attempt()
        await desk.update_file(trap.oaio_id, "key", b"written by alice")
        assert (secret / "key").read_bytes() == b"secret"
        for attempt in attempts[:1]:  # by now the last version is alice's own
            with pytest.raises(errors.AccessDenied, match="was chosen on another device"):
                await attempt()
        meant = await desk.update_folder(trap.oaio_id, str(secret))
        assert await desk.read_file(meant.oaio_id, "key") == b"secret"
        await desk.update_folder(trap.oaio_id)


async def test_what_may_not_be_sent_any_more_is_taken_back(clients: Clients) -> None:
    alice, bob = clients.user(), clients.user()
    async with clients.open(alice) as desk, clients.open(bob, "phone") as phone:
        letter = await shared(clients, desk, bob.name, "U")
        await phone.synchronize_with_server_if_online()
        await desk.upsert_subscription(letter, bob.name, "r")
        with pytest.raises(errors.AccessDenied, match="your changes are kept here"):
            await phone.update_file(letter, file_content=b"of bob")
        with pytest.raises(errors.AccessDenied, match="your changes are kept here"):
            await phone.synchronize_with_server_if_online()
        await desk.update_file(letter, file_content=b"of alice")
        kept = await phone.discard_changes(letter)
        assert kept.csh_access_right == "r"
        assert await phone.synchronize_with_server_if_online()
        assert await phone.read_file(letter) == b"of alice"
        [entry] = trash.entries(str(phone._open.store.state.root))
        assert list(entry.note.files) == ["letter.txt"]
        assert (await phone.discard_changes(letter)).client_values == kept.client_values, "nothing more to take back"
        with pytest.raises(errors.NotFound):
            await phone.discard_changes("never there")


async def test_offline_all_that_was_not_sent_is_taken_back_a_draft_too(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice) as desk:
        note = await desk.register_file("a.txt", b"first")
    async with clients.open(alice, offline=True) as desk:
        store, key = desk._open.store, desk._open.edits.record(note.oaio_id).key
        objects.write_sidecar(store, key, b"{bad")
        store.update_object(key, draft={"message": "no values", "line": 1, "column": 1})
        await desk.discard_changes(note.oaio_id)
        assert store.record(key).draft is None
        await desk.update_file(note.oaio_id, file_content=b"second")
        back = await desk.discard_changes(note.oaio_id)
        assert back.client_values == note.client_values
    async with clients.open(alice) as desk:
        assert await desk.synchronize_with_server_if_online()
        assert await desk.read_file(note.oaio_id) == b"first"
        assert desk.client_objectz[note.oaio_id].server_stamp == note.server_stamp, "no new version"


async def test_what_no_server_has_is_not_discarded(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, offline=True) as desk:
        note = await desk.register_object({"n": 1})
        with pytest.raises(errors.NotFound, match="unregister_object takes it back"):
            await desk.discard_changes(note.oaio_id)
        assert desk.client_objectz[note.oaio_id].client_values == {"n": 1}

"""Each public method, made by the library and seen by the real existing client, and the other way round."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oaiofs.client import OaioClient
from oaiofs.core.model import OaioId
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.remote.worlds import Account
from tests.serverkit import ServerKit

from .conftest import HttpClients

__all__ = ["peers"]
pytestmark = pytest.mark.peer

VALUES = {"_name": "Größe", "n": 10**30, "x": [None, {"y": 1.5}]}
DEEP = "deep/zwölf & 3.txt"


@pytest.fixture
def clients(oaio_server: ServerKit, tmp_path: Path) -> HttpClients:
    return HttpClients(oaio_server, tmp_path)


def peer_of(clients: HttpClients, peers: PeerProcess, account: Account) -> RealPeer:
    return RealPeer(peers, clients.world, (account.name, account.password), clients.folder / f"peer-{account.name}")


def values(peer: RealPeer, oaio_id: str) -> Any:
    return peer.objects[OaioId(oaio_id)]["client_values"]


def files(peer: RealPeer, oaio_id: str) -> Any:
    return peer.files[OaioId(oaio_id)]


@asynccontextmanager
async def beside(clients: HttpClients, peers: PeerProcess) -> AsyncIterator[tuple[OaioClient, RealPeer, Path]]:
    """The library and the existing client of one user, and a folder with the file DEEP."""
    alice = clients.user()
    folder = clients.folder / "trip"
    (folder / "deep").mkdir(parents=True)
    (folder / DEEP).write_bytes(b"twelve")
    async with clients.open(alice) as desk:
        yield desk, peer_of(clients, peers, alice), folder


async def test_what_the_library_makes_and_changes_the_existing_client_has(
    clients: HttpClients, peers: PeerProcess
) -> None:
    async with beside(clients, peers) as (desk, peer, folder):
        note = await desk.register_object(VALUES)
        letter = await desk.register_file("letter.txt", b"dear bob")
        tree = await desk.register_folder(str(folder))
        peer.sync_fully()
        assert values(peer, note.oaio_id) == VALUES
        assert files(peer, letter.oaio_id) == {"letter.txt": b"dear bob"}
        assert values(peer, tree.oaio_id) == {"_root_path": str(folder), "_file_paths": [DEEP]}
        await desk.update_object(note.oaio_id, {"n": 1}, reset=True)
        await desk.update_file(letter.oaio_id, file_content=b"dear all")
        (folder / "two.txt").write_text("2")
        await desk.update_folder(tree.oaio_id)
        (folder / "two.txt").unlink()
        peer.sync_fully()
        assert values(peer, note.oaio_id) == {"n": 1}
        assert files(peer, letter.oaio_id) == {"letter.txt": b"dear all"}
        assert sorted(values(peer, tree.oaio_id)["_file_paths"]) == [DEEP, "two.txt"]
        assert (folder / "two.txt").read_text() == "2", "it has downloaded to the root path"
        assert peer.last_sync_stamp > note.client_stamp
        for one in (note, letter, tree):
            await desk.unregister_object(one.oaio_id, wipe_files=True)
        assert peer.call("userz_access", note.oaio_id)[0]["access_right"] == "x"


async def test_what_the_existing_client_makes_and_changes_the_library_has(
    clients: HttpClients, peers: PeerProcess
) -> None:
    async with beside(clients, peers) as (desk, peer, folder):
        note = peer.call("register_object", VALUES, "20260301120000000001")["oaio_id"]
        letter = peer.call("register_file", "letter.txt", b"dear bob")["oaio_id"]
        tree = peer.call("register_folder", str(folder))["oaio_id"]
        assert await desk.synchronize_with_server_if_online()
        seen = desk.client_objectz
        assert seen[note].client_values == VALUES
        assert seen[note].server_stamp == "20260301120000000001"
        assert await desk.read_file(letter) == b"dear bob"
        assert seen[tree].client_values == {"_root_path": str(folder), "_file_paths": [DEEP]}
        peer.call("update_object", note, {"n": 1}, "", True)
        peer.call("update_file", letter, "", b"dear all")
        (folder / "two.txt").write_text("2")
        peer.call("update_folder", tree)
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[note].client_values == {"n": 1}
        assert await desk.read_file(letter) == b"dear all"
        assert await desk.read_file(tree, "two.txt") == b"2"
        assert desk.last_sync_stamp > desk.client_objectz[tree].server_stamp
        peer.call("unregister_object", letter, True)
        await desk.synchronize_with_server_if_online()
        assert letter not in desk.client_objectz
        assert len(desk.client_objectz) == 2


async def test_sharing_goes_both_ways(clients: HttpClients, peers: PeerProcess) -> None:
    alice, bob, root = clients.user(), clients.user(), clients.user(superuser=True)
    async with clients.open(alice) as desk:
        note = (await desk.register_object({"_name": "shared"})).oaio_id
        peer = peer_of(clients, peers, bob)
        peer.sync_fully()
        assert peer.objects == {}
        key = await desk.upsert_subscription(note, bob.name, "U")
        peer.sync_fully()
        assert peer.objects[OaioId(note)]["csh_access_right"] == "U"
        peer.call("update_object", note, {"by": "bob"})
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[note].client_values == {"_name": "shared", "by": "bob"}
        theirs = peer.call("register_object", {"_name": "theirs"})["oaio_id"]
        assert peer.call("upsert_subscription", theirs, alice.name) > 0
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[theirs].csh_access_right == "r"
        told = peer.call("userz_access", theirs)
        await desk.upsert_subscription(note, bob.name, "C")
        assert await desk.userz_access(theirs) == told
        assert peer.call("upsert_subscription", note, bob.name, "C") == key
        assert peer.call("unsubscribe", theirs, alice.name) == ""
        await desk.synchronize_with_server_if_online()
        assert theirs not in desk.client_objectz
        await desk.unsubscribe(note, bob.name)
        assert {row["access_right"] for row in peer.call("userz_access", note)} == {"x"}
    peer = peer_of(clients, peers, root)
    assert peer.call("wipe_user", bob.name) == ""
    async with clients.open(root) as office:
        assert bob.name not in {row["username"] for row in await office.userz_access("")}
        await office.wipe_user(alice.name)
        assert alice.name not in {row["username"] for row in peer.call("userz_access", "")}

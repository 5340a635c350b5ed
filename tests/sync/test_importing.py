"""``oaiofs import`` of what the existing client itself made, on the real self-hosted server over loopback."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from oaiofs.core.model import OaioId
from oaiofs.verbs import importing
from tests.httpworld import HttpWorld, ProxiedDevice, live
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server", "peers"]

pytestmark = pytest.mark.peer

FILES = {"a.txt": b"first", "b.txt": b"second", "d/c.txt": b"third"}
#: The ends of the addresses of what moves bytes or makes versions.
TRAFFIC = ("/files/get", "/files/put", "/files/copy", "POST /api/register/", "POST /api/upload/")

Test = Callable[[HttpWorld, RealPeer], Awaitable[None]]


def beside_peer(kit: ServerKit, process: PeerProcess, test: Test) -> None:
    """Run *test* in a new world with an existing client that has the object Notes in step with the server."""

    async def run(world: HttpWorld) -> None:
        peer = RealPeer(process, kit, world.account, world.folder / "old")
        peer.make("Notes", k=1)
        for path, data in FILES.items():
            peer.write("Notes", path, data)
        peer.sync()
        await test(world, peer)

    live(kit, run)


def fingerprint(root: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below *root*: mode, mtime and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, hashlib.sha256(data).hexdigest())
    return found


async def imported(world: HttpWorld, peer: RealPeer, name: str = "new", *, now: bool = True) -> dict[str, Any]:
    before = fingerprint(peer.root)
    owner = importing.Owner(world.account[0], world.kit.url, name, "oaiofs", "Digi")
    answer = await importing.run(world.folder / name, peer.root, owner, now=now)
    assert fingerprint(peer.root) == before, "the old root is left untouched"
    return answer


def announced(world: HttpWorld, oaio_id: OaioId) -> dict[str, Any]:
    """Stamp, values and the stored files' contents of the server's version."""
    [one] = [one for one in world.listing() if one.oaio_id == oaio_id]
    files = world.stored_below(f"{oaio_id}/{one.stamp}")
    assert sorted(files) == sorted(one.file_paths)
    return {"stamp": one.stamp, "values": dict(one.values), "files": files}


def sent(device: ProxiedDevice) -> list[str]:
    return [one for one in device.proxy.seen if one.partition("?")[0].endswith(TRAFFIC)]


async def finished(device: ProxiedDevice) -> None:
    await device.synced()
    device.check()


def test_what_is_in_step_is_neither_sent_nor_downloaded(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        peer.register_file("letter.txt", b"dear bob")
        notes = peer.named("Notes")
        assert notes is not None
        before = announced(world, notes)
        told = await imported(world, peer, now=False)
        assert not (world.folder / "new").exists(), "a dry run makes nothing"
        assert told["done"] is False
        assert {one["name"]: (one["state"], one["files"], one["absent"]) for one in told["objects"]} == {
            "Notes": ("registered", 3, 0), "letter.txt": ("registered", 1, 0),
        }  # fmt: skip
        done = await imported(world, peer)
        assert done == {**told, "done": True}
        device = await world.syncing("new")
        await finished(device)
        assert device.names() == ["Notes", "letter.txt"]
        assert await device.files("Notes") == FILES
        assert await device.files("letter.txt") == {"letter.txt": b"dear bob"}
        assert await device.values("Notes") == {"_name": "Notes", "k": 1}
        assert {device.state(name) for name in device.names()} == {"synced"}
        assert sent(device) == []
        assert announced(world, notes) == before
        assert not device.record("Notes").rebuilt

    beside_peer(oaio_server, peers, test)


def test_what_was_not_sent_reaches_the_server_and_its_newer_edits_are_merged(
    oaio_server: ServerKit, peers: PeerProcess
) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        other = await world.syncing("other")
        await finished(other)
        peer.offline = True
        peer.sync()
        peer.set_value("Notes", "by peer", [1, "ü"])
        peer.write("Notes", "a.txt", b"by peer")
        peer.write("Notes", "d/new.txt", b"new by peer")
        peer.unlink("Notes", "b.txt")
        fresh = peer.make("Fresh", made="offline")
        await other.set_value("Notes", "by other", 2)
        await other.write("Notes/d/c.txt", b"by other")
        await finished(other)
        done = await imported(world, peer)
        states = {one["name"]: (one["state"], one["removed"]) for one in done["objects"]}
        assert states == {"Notes": ("unsent", 1), "Fresh": ("new", 0)}
        device = await world.syncing("new")
        await finished(device)
        await finished(other)
        notes = peer.named("Notes")
        assert notes is not None
        merged = announced(world, notes)
        assert merged["values"] == {"_name": "Notes", "k": 1, "by peer": [1, "ü"], "by other": 2}
        assert merged["files"] == {"a.txt": b"by peer", "d/c.txt": b"by other", "d/new.txt": b"new by peer"}
        assert announced(world, fresh)["values"] == {"_name": "Fresh", "made": "offline"}
        for one in (device, other):
            assert await one.files("Notes") == merged["files"]
            assert await one.values("Fresh") == {"_name": "Fresh", "made": "offline"}
            assert one.conflicts() == []
        peer.offline = False
        peer.sync()  # whatever it overwrites now is merged
        await world.settle()
        assert dict(peer.values("Notes"))["by peer"] == [1, "ü"]

    beside_peer(oaio_server, peers, test)


def test_both_sides_of_a_conflict_are_kept(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        other = await world.syncing("other")
        await finished(other)
        peer.offline = True
        peer.sync()
        peer.write("Notes", "a.txt", b"by peer")
        await other.write("Notes/a.txt", b"by other")
        await finished(other)
        await imported(world, peer)
        device = await world.syncing("new")
        await finished(device)
        files = await device.files("Notes")
        assert files.pop("a.txt") == b"by other"
        assert sorted(files.values()) == [b"by peer", b"second", b"third"]

    beside_peer(oaio_server, peers, test)


def test_again_takes_over_what_is_new_since(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        await imported(world, peer)
        peer.make("Later")
        again = await imported(world, peer)
        assert [one["name"] for one in again["objects"]] == ["Later"]
        assert [(one["what"], one["why"]) for one in again["left_out"]] == [(peer.named("Notes"), "it is here already")]
        device = await world.syncing("new")
        await finished(device)
        assert device.names() == ["Later", "Notes"]
        assert sent(device) == []

    beside_peer(oaio_server, peers, test)


def test_files_missing_here_are_downloaded_when_opened(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        notes = peer.named("Notes")
        assert notes is not None
        (peer.root / "filez" / notes / "b.txt").unlink()  # behind its back: not a removal that it knows of
        done = await imported(world, peer)
        assert [(one["files"], one["absent"]) for one in done["objects"]] == [(2, 1)]
        device = await world.syncing("new")
        await finished(device)
        assert sent(device) == []
        assert await device.files("Notes") == FILES
        assert [one.split()[0] for one in sent(device)] == ["GET"], "just the one that was missing"
        assert announced(world, notes)["files"] == FILES

    beside_peer(oaio_server, peers, test)


def test_files_of_a_root_path_are_copied_from_there(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        folder = world.folder / "my letters"
        (folder / "deep").mkdir(parents=True)
        (folder / "one.txt").write_text("one")
        (folder / "deep" / "two.txt").write_text("two")
        peer.register_folder(folder)
        done = await imported(world, peer)
        assert {one["folder"] for one in done["objects"]} == {None, os.path.realpath(folder)}
        device = await world.syncing("new")
        await finished(device)
        assert sent(device) == []
        assert await device.files("my letters") == {"one.txt": b"one", "deep/two.txt": b"two"}
        root_path = (await device.values("my letters"))["_root_path"]
        await device.write("my letters/one.txt", b"edited here")
        await device.set_value("my letters", "k", 1)
        await finished(device)
        assert (folder / "one.txt").read_text() == "one", "the user's own folder is left alone"
        peer.sync()
        assert (folder / "one.txt").read_text() == "edited here", "the key is unchanged for the existing client"
        [values] = [one["client_values"] for one in peer.objects.values() if "_root_path" in one["client_values"]]
        assert (values["_root_path"], values["k"]) == (root_path, 1)

    beside_peer(oaio_server, peers, test)


def test_what_is_gone_from_the_server_is_kept_and_flagged(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        other = await world.syncing("other")
        await finished(other)
        await other.remove_object("Notes")
        await finished(other)
        assert world.listing() == ()
        await imported(world, peer)
        device = await world.syncing("new")
        await device.sync.first_look()
        while not device.record("Notes").orphan:
            await world.go_on(1)
        assert await device.files("Notes") == FILES
        assert world.listing() == ()
        await device.remove_object("Notes")
        await finished(device)
        assert device.names() == []

    beside_peer(oaio_server, peers, test)


def test_a_registration_whose_answer_was_lost_is_not_made_twice(oaio_server: ServerKit, peers: PeerProcess) -> None:
    async def test(world: HttpWorld, peer: RealPeer) -> None:
        notes = peer.named("Notes")
        assert notes is not None
        record = peer.root / "objz" / notes
        held = {**peer.objects[notes], "server_stamp": "", "server_values": {}}
        record.write_text(repr(held))
        await imported(world, peer)
        device = await world.syncing("new")
        await finished(device)
        assert device.names() == ["Notes"]
        assert [one.oaio_id for one in world.listing()] == [notes]
        assert await device.files("Notes") == FILES
        assert sent(device) == []

    beside_peer(oaio_server, peers, test)

"""The README's table of the existing client, row by row: beside the real one, with its storage driver, in real mounts.

What the existing client does by a method is seen in the mount; what is done in the mount, or by the row's command, is
seen by the existing client: byte for byte, values exactly. The library's column has ``tests/client``.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from tests.mountkit import Account, MountKit, needs_fuse, wait_for, wait_same
from tests.readme import interop_table
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.serverkit import ServerKit

from .interop import (
    DATA,
    FILES,
    VALUES,
    bob,
    content,
    done,
    exactly,
    files_of,
    filled,
    fresh,
    here,
    his,
    his_peer,
    id_of,
    in_mount,
    met,
    peer,
    shown,
    told,
)  # fmt: skip
from .refusing import refused
from .rows import make, owner, xattr

__all__ = ["bob", "fresh", "here", "his", "his_peer", "make", "owner", "peer", "peers"]

pytestmark = [*needs_fuse, pytest.mark.peer]

Test = TypeVar("Test", bound=Callable[..., None])
#: The rows that have a test: whether it does what there is in the columns command and mount.
ROWS: dict[str, tuple[bool, bool]] = {}


def row(name: str, *, command: bool = True, mount: bool = True) -> Callable[[Test], Test]:
    """The test of a row of the table; nothing is said to be there for a *command*, or in the *mount*, in some."""

    def noted(test: Test) -> Test:
        ROWS[name] = (command, mount)
        return test

    return noted


def secret(file: Path, password: str) -> Path:
    file.touch(0o600)
    file.write_text(password)
    return file


@row("OaioClient")
def test_both_are_one_user_and_sign_with_their_own_device(
    here: MountKit, peer: RealPeer, peers: PeerProcess, oaio_server: ServerKit, owner: Account, tmp_path: Path
) -> None:
    login = ["login", oaio_server.host, "--user", owner.user, "--password-file"]
    assert f"Logged in as {owner.user}" in done(here.oaiofs(*login, here.password_file))
    assert here.oaiofs(*login, secret(tmp_path / "wrong", "wrong")).returncode == 4
    refused_one = RealPeer(peers, oaio_server, (owner.user, "wrong"), tmp_path / "refused", "refused")
    assert refused_one.call("synchronize_with_server_if_online") is False
    [mine] = in_mount(here, "signed in the mount")
    theirs = peer.make("signed by the existing client")
    met(here, peer)
    signed = {key: peer.objects[id_of(mine)][key] for key in ("username", "device_id", "app_id", "csh_id")}
    assert signed == {"username": owner.user, "device_id": "here", "app_id": "notes", "csh_id": "Digi"}
    place = here.path / "signed by the existing client"
    assert [xattr(place, name) for name in ("id", "device", "app", "csh")] == [theirs, "peer", "story", "Digi"]
    assert here.client_root.is_dir()
    assert (peer.root / "objz" / theirs).is_file()


@row("register_file")
def test_register_file(here: MountKit, peer: RealPeer, tmp_path: Path) -> None:
    file = filled(tmp_path / "docs", {"added.bin": DATA, "kept.bin": DATA[::-1]}) / "added.bin"
    made = peer.call("register_file", "made.bin", DATA)["oaio_id"]
    kept = peer.call("register_file", "kept.bin", None, str(tmp_path / "docs"))["oaio_id"]
    (here.path / "copied").mkdir()
    subprocess.run(["cp", file, here.path / "copied/"], check=True)
    done(here.oaiofs("add", file))
    met(here, peer)
    assert content(here.path / "made.bin") == {"made.bin": DATA}
    places = {xattr(place, "id"): place for place in here.path.iterdir()}
    assert content(places[kept]) == {"kept.bin": DATA[::-1]}
    assert (shown(places[kept]), shown(places[made])) == ({"_root_path": str(tmp_path / "docs")}, {})
    for name in ("copied", "added.bin"):
        assert files_of(peer, id_of(here.path / name)) == {"added.bin": DATA}


@row("register_folder")
def test_register_folder(here: MountKit, peer: RealPeer, tmp_path: Path) -> None:
    trip, copied, added = (filled(tmp_path / name) for name in ("trip", "trip copied", "trip added"))
    made = peer.call("register_folder", str(trip))["oaio_id"]
    subprocess.run(["cp", "-r", copied, here.path], check=True)
    done(here.oaiofs("add", "--root-path", added))
    met(here, peer)
    assert id_of(here.path / "trip") == made
    for folder in (trip, added):
        place = here.path / folder.name
        assert content(place) == FILES
        assert shown(place) == told(peer, id_of(place)) == {"_root_path": str(folder)}
        (place / "deep/new.bin").write_bytes(DATA)
    assert files_of(peer, id_of(here.path / "trip copied")) == FILES
    assert told(peer, id_of(here.path / "trip copied")) == {"_name": "trip copied"}
    met(here, peer)
    for folder in (trip, added):
        assert content(folder) == {**FILES, "deep/new.bin": DATA}, "where the existing client keeps its files"


@row("register_object")
def test_register_object(here: MountKit, peer: RealPeer, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps(VALUES))
    peer.call("register_object", {"_name": "values made", **VALUES})
    (here.path / "values written").mkdir()
    (here.path / "values written/values.json").write_text(json.dumps({"_name": "values written", **VALUES}))
    done(here.oaiofs("add", "--values", tmp_path / "v.json", "--name", "values added"))
    met(here, peer)
    assert exactly(shown(here.path / "values made")) == exactly({"_name": "values made", **VALUES})
    for name in ("values written", "values added"):
        assert exactly(told(peer, id_of(here.path / name))) == exactly({"_name": name, **VALUES})


@row("update_file", command=False)
def test_update_file(here: MountKit, peer: RealPeer) -> None:
    [place] = in_mount(here, "a file to update")
    peer.sync_fully()
    peer.call("update_file", id_of(place), "", DATA * 2)
    here.sync()
    assert content(place) == {"a.bin": DATA * 2}
    with open(place / "a.bin", "r+b") as file:
        file.seek(100)
        file.write(b"in the middle")
    met(here, peer)
    changed = DATA[:100] + b"in the middle" + (DATA * 2)[113:]
    assert files_of(peer, id_of(place)) == {"a.bin": changed}
    peer.call("update_file", id_of(place), "instead.bin", b"\0")
    here.sync()
    assert content(place) == {"instead.bin": b"\0"}


@row("update_folder", command=False)
def test_update_folder(here: MountKit, peer: RealPeer, tmp_path: Path) -> None:
    folder = filled(tmp_path / "a folder to update")
    made = peer.call("register_folder", str(folder))["oaio_id"]
    (folder / "one.bin").unlink()
    (folder / "deep/zwölf & 3.txt").rename(folder / "moved.txt")
    (folder / "new.bin").write_bytes(DATA * 2)
    peer.call("update_folder", made)
    here.sync()
    place = here.path / folder.name
    assert content(place) == content(folder) == {"moved.txt": b"12\r\n", "new.bin": DATA * 2, "empty.txt": b""}
    (place / "again").mkdir()
    (place / "moved.txt").rename(place / "again/moved.txt")
    (place / "empty.txt").unlink()
    (place / "new.bin").write_bytes(DATA * 3)
    met(here, peer)
    now = {"again/moved.txt": b"12\r\n", "new.bin": DATA * 3}
    assert sorted(peer.objects[made]["client_values"]["_file_paths"]) == sorted(now)
    assert {path: (folder / path).read_bytes() for path in now} == now


@row("update_object")
def test_update_object(here: MountKit, peer: RealPeer) -> None:
    made = peer.make("values to update", n=1, gone=True)
    peer.call("update_object", made, {"n": 2.0, "two": {"x": VALUES}})
    here.sync()
    place = here.path / "values to update"
    assert exactly(shown(place)) == exactly({"_name": place.name, "n": 2.0, "gone": True, "two": {"x": VALUES}})
    done(here.oaiofs("set", place, "two.x.n", "-1e5"))
    done(here.oaiofs("set", place, "gone", "--remove"))
    met(here, peer)
    values = {"_name": place.name, "n": 2.0, "two": {"x": {**VALUES, "n": -1e5}}}
    assert exactly(told(peer, made)) == exactly(values)
    peer.call("update_object", made, {"_name": place.name, "only": VALUES}, "", True)
    here.sync()
    assert exactly(shown(place)) == exactly({"_name": place.name, "only": VALUES})
    (place / "values.json").write_text(json.dumps({"_name": place.name, "saved": VALUES}))
    met(here, peer)
    assert exactly(told(peer, made)) == exactly({"_name": place.name, "saved": VALUES})


@row("unregister_object")
def test_unregister_object(here: MountKit, peer: RealPeer, fresh: RealPeer) -> None:
    names = ["removed there", "wiped there", "removed by rm -r", "wiped by command"]
    places = in_mount(here, *names)
    ids = [id_of(place) for place in places]
    stamps = [xattr(place, "stamp") + "/" for place in places]
    peer.sync_fully()
    assert [peer.stored(oaio_id) for oaio_id in ids] == [[stamp] for stamp in stamps]
    assert peer.call("unregister_object", ids[0]) == ""
    assert peer.call("unregister_object", ids[1], True) == ""
    subprocess.run(["rm", "-r", places[2]], check=True)
    done(here.oaiofs("rm", names[3], "--wipe-files", "--yes"))
    here.sync()
    wait_same(lambda: [place.exists() for place in places], [False] * 4)
    wait_same(lambda: [peer.stored(oaio_id) for oaio_id in ids], [[stamps[0]], [], [stamps[2]], None])
    assert {row["access_right"] for oaio_id in ids for row in peer.call("userz_access", oaio_id)} == {"x"}
    fresh.sync_fully()
    assert not set(ids) & fresh.objects.keys()
    in_trash = done(here.oaiofs("trash", "list"))
    assert all(name in in_trash for name in names)


@row("synchronize_with_server_if_online")
def test_synchronize_with_server_if_online(here: MountKit, peer: RealPeer) -> None:
    [place] = in_mount(here, "synchronized")
    peer.sync_fully()
    peer.offline = True
    peer.sync()
    assert peer.call("synchronize_with_server_if_online") is False
    peer.write(place.name, "there.bin", DATA)
    (place / "here.bin").write_bytes(DATA)
    done(here.oaiofs("sync"))
    assert content(place) == {"a.bin": DATA, "here.bin": DATA}
    peer.offline = False
    peer.sync()
    wait_same(lambda: content(place), {"a.bin": DATA, "here.bin": DATA, "there.bin": DATA})
    (place / "by itself.bin").write_bytes(DATA)
    wait_for(lambda: peer.call("synchronize_with_server_if_online") and "by itself.bin" in peer.files[id_of(place)])
    assert files_of(peer, id_of(place)) == content(place)


@row("upsert_subscription")
def test_upsert_subscription(here: MountKit, peer: RealPeer, his: MountKit, his_peer: RealPeer, bob: Account) -> None:
    places = in_mount(here, "shared there", "shared by setfattr", "shared by command")
    ids, access = [id_of(place) for place in places], f"access.{bob.user}"
    key = peer.call("upsert_subscription", ids[0], bob.user, "U")
    os.setxattr(places[1], f"user.oaio.{access}", b"U")
    done(here.oaiofs("share", places[2], bob.user, "U"))
    met(his, his_peer)
    assert [his_peer.objects[oaio_id]["csh_access_right"] for oaio_id in ids] == ["U"] * 3
    assert [files_of(his_peer, oaio_id) for oaio_id in ids] == [{"a.bin": DATA}] * 3
    for place in places:
        assert xattr(his.path / place.name, "right") == "U"
        wait_same(partial(xattr, place, access), "U")
    (his.path / places[0].name / "a.bin").write_bytes(b"his")
    his_peer.call("update_object", ids[1], {"his": 1})
    met(his, peer)
    assert (files_of(peer, ids[0]), told(peer, ids[1])) == ({"a.bin": b"his"}, {"_name": places[1].name, "his": 1})
    assert peer.call("upsert_subscription", ids[0], bob.user, "r") == key > 0
    met(his, his_peer)
    refused(errno.EACCES, lambda: (his.path / places[0].name / "a.bin").write_bytes(b"not his"))


@row("unsubscribe")
def test_unsubscribe(here: MountKit, peer: RealPeer, his: MountKit, his_peer: RealPeer, bob: Account) -> None:
    places = in_mount(here, "taken there", "taken by setfattr", "taken by command", "left there", "left by command")
    ids, access = [id_of(place) for place in places], f"user.oaio.access.{bob.user}"
    for place in places:
        os.setxattr(place, access, b"r")
    his.expect("no longer lists")  # more than a handful of what he has: until it is said again
    his.sync()
    assert all((his.path / place.name / "a.bin").read_bytes() == DATA for place in places)
    assert peer.call("unsubscribe", ids[0], bob.user) == ""
    os.removexattr(places[1], access)
    done(here.oaiofs("unshare", places[2], bob.user))
    his_peer.sync_fully()
    assert set(ids) & his_peer.objects.keys() == set(ids[3:])
    assert his_peer.call("unsubscribe", ids[3], bob.user) == ""
    done(his.oaiofs("unshare", his.path / places[4].name, bob.user))
    wait_same(lambda: [place.name for place in places if (his.path / place.name).exists()], [])
    for oaio_id, place in zip(ids, places, strict=True):
        assert {one["access_right"] for one in his_peer.call("userz_access", oaio_id)} == {"x"}
        assert content(place) == {"a.bin": DATA}


@row("userz_access")
def test_userz_access(here: MountKit, peer: RealPeer, oaio_server: ServerKit, owner: Account) -> None:
    [place] = in_mount(here, "who has it")
    users = {right: oaio_server.fresh_user()[0] for right in "DUr"} | {"C": owner.user}
    peer.call("upsert_subscription", id_of(place), users["D"], "D")
    os.setxattr(place, f"user.oaio.access.{users['U']}", b"U")
    done(here.oaiofs("share", place, users["r"], "r"))
    rows = [one for one in peer.call("userz_access", id_of(place)) if one["access_right"] != "x"]
    assert rows == [{"username": users[right], "access_right": right} for right in "CDUr"]
    by_command = json.loads(done(here.oaiofs("users", place, "--json")))["users"]
    assert {one["user"]: one["right"] for one in by_command} == {user: right for right, user in users.items()}
    for right, user in users.items():
        wait_same(partial(xattr, place, f"access.{user}"), right)
    assert {one["username"] for one in peer.call("userz_access", "")} == set(done(here.oaiofs("users")).split())


@row("wipe_user", mount=False)
def test_wipe_user(here: MountKit, peers: PeerProcess, oaio_server: ServerKit, owner: Account, tmp_path: Path) -> None:
    root = Account(*oaio_server.fresh_user("root", superuser=True))
    office = RealPeer(peers, oaio_server, root, tmp_path / "office", "office")
    carols = [Account(*oaio_server.fresh_user("carol")) for _ in range(3)]
    theirs = [RealPeer(peers, oaio_server, carol, tmp_path / carol.user, carol.user) for carol in carols]
    for carol, client in zip(carols, theirs, strict=True):
        assert client.call("upsert_subscription", client.make(carol.user), owner.user) > 0
    in_mount(here, "stays when users go")
    places = [here.path / carol.user for carol in carols]
    assert all(place.is_dir() for place in places)
    assert office.call("wipe_user", carols[0].user) == ""
    login = ["--server", oaio_server.url, "--user", root.user, "--password-file", secret(tmp_path / "p", root.password)]
    done(here.oaiofs("wipe-user", carols[1].user, *login, "--yes"))
    done(here.oaiofs("server", "deluser", carols[2].user, "--data", oaio_server.data))
    here.sync()
    assert not any(place.exists() for place in places)
    left = {one["username"] for one in office.call("userz_access", "")}
    assert left & {owner.user, *(carol.user for carol in carols)} == {owner.user}
    for client in theirs:
        assert client.call("synchronize_with_server_if_online") is False, "the account is no more"


@row("last_sync_stamp")
def test_last_sync_stamp(here: MountKit, peer: RealPeer) -> None:
    def stamps() -> set[str]:
        [listed] = json.loads(done(here.oaiofs("ls", place, "--json")))["objects"]
        return {listed["stamp"], xattr(place, "stamp"), peer.objects[id_of(place)]["server_stamp"]}

    [place] = in_mount(here, "stamped")
    peer.sync_fully()
    [first] = stamps()
    assert (peer.root / "last_sync_stamp.txt").read_text() == peer.last_sync_stamp > first
    peer.set_value(place.name, "by", "peer")
    assert peer.last_sync_stamp > peer.objects[id_of(place)]["server_stamp"] > first
    here.sync()
    [second] = stamps()
    (place / "a.bin").write_bytes(b"again")
    met(here, peer)
    [third] = stamps()
    assert first < second < third < peer.last_sync_stamp


@row("client_objectz")
def test_client_objectz(here: MountKit, peer: RealPeer, fresh: RealPeer) -> None:
    peer.call("register_object", {"_name": "listed there", **VALUES})
    in_mount(here, "listed here")
    fresh.sync_fully()
    listed = {one["id"]: one for one in json.loads(done(here.oaiofs("ls", "--json")))["objects"]}
    assert fresh.objects.keys() == listed.keys() == set(os.listdir(here.path / ".oaiofs/by-id"))
    assert {one["name"] for one in listed.values()} == set(os.listdir(here.path))
    for oaio_id, one in listed.items():
        place = here.path / ".oaiofs/by-id" / oaio_id
        assert place.samefile(here.path / one["name"])
        assert exactly(shown(place)) == exactly(told(fresh, oaio_id))
    theirs = id_of(here.path / "listed there")
    assert exactly(json.loads(done(here.oaiofs("get", theirs)))) == exactly(told(fresh, theirs))


@row("files in filez/", command=False)
def test_files_in_filez(here: MountKit, peer: RealPeer) -> None:
    filez = peer.root / "filez" / peer.make("files of both")
    big = os.urandom(3 << 20)
    filled(filez, {**FILES, "big.bin": big})
    peer.call("update_folder", filez.name)
    here.sync()
    place = here.path / "files of both"
    assert content(place) == {**FILES, "big.bin": big}
    (place / "one.bin").write_bytes(big[::-1])
    filled(place, {"deeper/and deeper/ß.bin": DATA})
    met(here, peer)
    assert content(filez) == {**FILES, "one.bin": big[::-1], "big.bin": big, "deeper/and deeper/ß.bin": DATA}


def test_each_row_of_the_table_has_a_test_and_no_empty_cell() -> None:
    table = interop_table()
    assert all(cell for cells in table.values() for cell in cells)
    offered = {name: (not one.command.startswith("none"), one.mount != "not in a mount") for name, one in table.items()}
    assert offered == ROWS

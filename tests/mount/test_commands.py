"""The commands about objects, values and users, beside a running mount: as real processes, with two users."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

pytestmark = needs_fuse


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def refused(run: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert (run.returncode, run.stdout) == (code, ""), run.stderr
    assert run.stderr.startswith("oaiofs: ")
    for part in parts:
        assert part in run.stderr


@pytest.fixture
def bob(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("bob"))


@pytest.fixture
def his(new_mount: MountMaker, bob: Account) -> MountKit:
    kit = new_mount("bobs", bob)
    kit.expect("no longer lists 1 of 1 objects")  # until the second look: the only one that he had
    return kit


def names(kit: MountKit) -> list[str]:
    return sorted(os.listdir(kit.path))


def notes(kit: MountKit) -> Path:
    folder = kit.path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"first")
    kit.sync()
    return folder


def test_ls_tells_right_state_stamp_and_size(d1: MountKit) -> None:
    notes(d1)
    [one] = json.loads(done(d1.oaiofs("ls", "--json")))["objects"]
    shown = d1.shown("notes")
    assert (one["id"], one["stamp"], one["right"]) == (shown["id"], shown["stamp"], "C")
    assert (one["name"], one["state"], one["size"], one["files"]) == ("notes", "synced", 5, 1)
    assert done(d1.oaiofs("ls")) == f"C  synced  {one['stamp']}  5 B  notes\n"
    for word in ("notes", d1.path / "notes", one["id"], one["id"][:12], d1.path):
        assert json.loads(done(d1.oaiofs("ls", word, "--json")))["objects"] == [one], word
    refused(d1.oaiofs("ls", d1.path / "notes/a.txt"), 2, "is in the object notes")
    refused(d1.oaiofs("ls", "nothing"), 1, "there is no object nothing")


def test_an_object_that_could_be_several_is_refused_with_all_of_them(d1: MountKit) -> None:
    for name in ("one", "two"):
        (d1.path / name).mkdir()
        done(d1.oaiofs("set", name, "_name", "same"))
    d1.sync()
    first, second = names(d1)
    assert (first, second) == ("same", "same ~2")
    by_name = {name: d1.shown(name)["id"] for name in (first, second)}
    assert json.loads(done(d1.oaiofs("get", second, "--json")))["object"] == second
    one, two = by_name.values()
    common = one[: next(at for at in range(len(one)) if one[at] != two[at])]
    refused(d1.oaiofs("rm", common), 2, "could be 2 objects", *by_name.values())
    assert names(d1) == [first, second]


def test_values_are_read_and_set_by_key_path(d1: MountKit, d2: MountKit) -> None:
    folder = notes(d1)
    for key, value in (("n", "5"), ("t", "five"), ("two.x", "[1, true]"), ('two."a.b"', '"5"'), ("neg", "-1.50")):
        assert done(d1.oaiofs("set", "notes", key, value)) == ""
    seen = json.loads((folder / "values.json").read_text())
    assert seen == {"_name": "notes", "n": 5, "t": "five", "two": {"x": [1, True], "a.b": "5"}, "neg": -1.5}
    assert done(d1.oaiofs("get", "notes", "t")) == "five\n"
    assert done(d1.oaiofs("get", "notes", "n")) == "5\n"
    assert json.loads(done(d1.oaiofs("get", folder, "two"))) == {"x": [1, True], "a.b": "5"}
    assert json.loads(done(d1.oaiofs("get", "notes"))) == seen
    d1.sync()
    wait_same(lambda: json.loads((d2.path / "notes/values.json").read_text()), seen)
    done(d1.oaiofs("set", "notes", "two.x", "--remove"))
    refused(d1.oaiofs("get", "notes", "two.x"), 1, "notes has no value two.x")
    refused(d1.oaiofs("set", "notes", "two.x", "--remove"), 1, "no value two.x")
    refused(d1.oaiofs("set", "notes", "t.x", "1"), 2, "t.x can't be set")
    refused(d1.oaiofs("set", "notes", "n", "{1"), 2, "begins like JSON")
    refused(d1.oaiofs("set", "notes", "_name", "5"), 1, "_name")
    refused(d1.oaiofs("set", "notes", "_file_paths", "[]"), 2, "attached files")
    refused(d1.oaiofs("set", "notes", "a..b", "1"), 2, "is no key path")
    done(d1.oaiofs("set", "notes", "n", "{1", "--text"))
    assert done(d1.oaiofs("get", "notes", "n")) == "{1\n"
    done(d1.oaiofs("set", "notes", "_name", "renamed"))
    assert os.listdir(d1.path) == ["renamed"]


def test_an_object_is_removed_whole_and_comes_back(d1: MountKit, cloud: Cloud) -> None:
    folder = notes(d1)
    stored = cloud.objects()["notes"]
    with open(folder / "a.txt", "ab"):
        refused(d1.oaiofs("rm", "notes"), 1, "a program is writing in notes")
    d1.sync()
    assert "is in the trash" in done(d1.oaiofs("rm", "notes"))
    assert os.listdir(d1.path) == []
    done(d1.oaiofs("trash", "restore", "notes"))
    assert (d1.path / "notes/a.txt").read_bytes() == b"first"
    done(d1.oaiofs("rm", d1.path / "notes"))
    d1.sync()
    assert cloud.objects() == {}
    assert cloud.stored(stored)


def test_wiping_removes_what_is_stored_and_asks_first(d1: MountKit, cloud: Cloud) -> None:
    notes(d1)
    (d1.path / "notes/a.txt").write_bytes(b"second")
    d1.sync()
    (d1.path / "other").mkdir()
    (d1.path / "other/b.txt").write_bytes(b"stays")
    d1.sync()
    remote, other = cloud.objects()["notes"], cloud.objects()["other"]
    assert len(cloud.stored(remote)) == 2
    refused(d1.oaiofs("rm", "notes", "--wipe-files"), 7, "gone for good")
    assert cloud.stored(remote)
    done(d1.oaiofs("rm", "notes", "--wipe-files", "--yes"))
    d1.sync()
    wait_for(lambda: remote.oaio_id not in cloud.ask_storage(lambda host: host.list_folders("")), what="the wiping")
    assert cloud.stored(other)
    done(d1.oaiofs("trash", "restore", "notes"))
    assert (d1.path / "notes/a.txt").read_bytes() == b"second"


def test_what_was_wished_to_be_wiped_stays_when_the_object_comes_back(d1: MountKit, cloud: Cloud) -> None:
    notes(d1)
    remote = cloud.objects()["notes"]
    done(d1.oaiofs("rm", "notes", "--wipe-files", "--yes"))
    done(d1.oaiofs("trash", "restore", "notes"))
    d1.sync()
    assert (d1.path / "notes/a.txt").read_bytes() == b"first"
    assert cloud.objects()["notes"].file_paths == ("a.txt",)
    if cloud.objects()["notes"].oaio_id == remote.oaio_id:
        assert cloud.stored(remote)


def test_files_folders_and_values_become_objects(d1: MountKit, d2: MountKit, tmp_path: Path) -> None:
    trip = tmp_path / "trip"
    (trip / "day 1" / "empty").mkdir(parents=True)
    (trip / "day 1" / "p.jpg").write_bytes(b"\0picture")
    (trip / "values.json").write_text("mine")
    os.utime(trip / "values.json", (1_600_000_000, 1_600_000_000))
    (trip / "link").symlink_to("values.json")
    os.mkfifo(trip / "pipe")
    letter = tmp_path / "letter.txt"
    letter.write_text("dear")
    told = done(d1.oaiofs("add", trip, letter))
    assert "trip is a new object with 2 files." in told
    assert "Left out: link, a link." in told
    assert "Left out: pipe, neither a file nor a folder." in told
    values = tmp_path / "v.json"
    values.write_text('{"_name": "settings", "deep": {"x": 1.0}}')
    done(d1.oaiofs("add", "--values", values))
    refused(d1.oaiofs("add", trip), 1, "an object called trip exists already")
    refused(d1.oaiofs("add", tmp_path / "nothing"), 1, "does not exist")
    refused(d1.oaiofs("add", d1.path / "trip"), 2, "in the mount already")
    refused(d1.oaiofs("add", d1.folder), 1, "client root")
    done(d1.oaiofs("add", letter, "--name", "last", "--values", values))
    d1.sync()
    for kit in (d1, d2):
        wait_same(partial(names, kit), ["last", "letter.txt", "settings", "trip"])
        assert (kit.path / "trip/day 1/p.jpg").read_bytes() == b"\0picture"
        assert (kit.path / "trip/values.json").read_text() == "mine"
        assert (kit.path / "trip/values.json").stat().st_mtime == 1_600_000_000
        assert json.loads((kit.path / "trip/values~.json").read_text()) == {"_name": "trip"}
        assert (kit.path / "letter.txt/letter.txt").read_text() == "dear"
        assert json.loads((kit.path / "last/values.json").read_text()) == {"_name": "last", "deep": {"x": 1.0}}
        assert json.loads((kit.path / "settings/values.json").read_text())["deep"] == {"x": 1.0}
        assert {one.stat().st_mode & 0o777 for one in kit.path.iterdir()} == {0o755}
    assert (trip / "day 1" / "p.jpg").exists()


def test_sharing_by_command(d1: MountKit, his: MountKit, bob: Account, account: Account) -> None:
    notes(d1)
    assert {account.user, bob.user} <= set(done(d1.oaiofs("users")).split())
    assert json.loads(done(d1.oaiofs("users", "notes", "--json")))["users"] == [
        {"user": account.user, "right": "C", "me": True}
    ]
    assert done(d1.oaiofs("share", "notes", bob.user)) == f"{bob.user} may read notes.\n"
    wait_for(lambda: (his.path / "notes/a.txt").read_bytes() == b"first")
    assert os.stat(his.path / "notes").st_mode & 0o777 == 0o555
    done(d1.oaiofs("share", d1.path / "notes", bob.user, "U"))
    wait_same(lambda: os.stat(his.path / "notes").st_mode & 0o777, 0o755)
    assert f"U  {bob.user}" in done(d1.oaiofs("users", "notes"))
    refused(his.oaiofs("share", "notes", account.user, "C"), 1, "needs right C, and you have U")
    refused(his.oaiofs("unshare", "notes", account.user), 1, "needs right C")
    refused(d1.oaiofs("share", "notes", "nobody-like-this"), 1, "knows no user nobody-like-this")
    refused(d1.oaiofs("unshare", "notes", "nobody-like-this"), 1, "has no right on notes")
    refused(d1.oaiofs("unshare", "notes", account.user), 1, "creator")
    refused(d1.oaiofs("share", "notes", bob.user, "W"), 2)
    done(d1.oaiofs("unshare", "notes", bob.user))
    wait_same(lambda: os.listdir(his.path), [])


def test_who_has_an_object_can_give_it_up(d1: MountKit, his: MountKit, bob: Account) -> None:
    notes(d1)
    done(d1.oaiofs("share", "notes", bob.user))
    wait_same(lambda: os.listdir(his.path), ["notes"])
    done(his.oaiofs("unshare", "notes", bob.user))
    wait_same(lambda: os.listdir(his.path), [])
    assert bob.user not in done(d1.oaiofs("users", "notes"))


def test_an_object_taken_away_stays_while_it_has_unsent_edits(
    d1: MountKit, new_mount: MountMaker, bob: Account
) -> None:
    his = new_mount("bobs", bob, quiet=60.0)
    his.expect("is gone from the server", "no longer lists", "with the next mount")
    folder = notes(d1)
    (d1.path / "clean").mkdir()
    d1.sync()
    for name in ("notes", "clean"):
        done(d1.oaiofs("share", name, bob.user, "U"))
    wait_same(lambda: names(his), ["clean", "notes"])
    (his.path / "notes/a.txt").write_bytes(b"mine")
    for name in ("notes", "clean"):
        done(d1.oaiofs("unshare", name, bob.user))
    wait_same(lambda: os.listdir(his.path), ["notes"])
    wait_for(lambda: "no longer shared" in his.shown("notes")["error"])
    assert (his.path / "notes/a.txt").read_bytes() == b"mine"
    assert (folder / "a.txt").read_bytes() == b"first"


def test_sharing_by_attribute(d1: MountKit, his: MountKit, bob: Account, account: Account) -> None:
    folder = notes(d1)
    name = f"user.oaio.access.{bob.user}"
    assert os.getxattr(folder, f"user.oaio.access.{account.user}") == b"C"
    os.setxattr(folder, name, b"U")
    assert _right_of(d1, bob) == "U"
    wait_for(lambda: os.getxattr(folder, name) == b"U")
    wait_same(lambda: os.listdir(his.path), ["notes"])
    other = his.path / "notes"
    assert os.getxattr(other, name) == b"U"
    _fails(errno.EACCES, lambda: os.setxattr(other, f"user.oaio.access.{account.user}", b"C"))
    _fails(errno.EACCES, lambda: os.removexattr(other, f"user.oaio.access.{account.user}"))
    _fails(errno.ENOENT, lambda: os.setxattr(folder, "user.oaio.access.nobody-like-this", b"U"))
    _fails(errno.EINVAL, lambda: os.setxattr(folder, name, b"W"))
    _fails(errno.EPERM, lambda: os.setxattr(folder / "a.txt", name, b"U"))
    _fails(errno.ENODATA, lambda: os.getxattr(folder / "a.txt", name))
    assert os.listxattr(folder) == []
    os.removexattr(folder, name)
    _fails(errno.ENODATA, lambda: os.getxattr(folder, name))
    _fails(errno.ENODATA, lambda: os.removexattr(folder, name))
    assert _right_of(d1, bob) == ""
    wait_same(lambda: os.listdir(his.path), [])


def test_reading_who_has_access_never_waits(d1: MountKit, oaio_server: ServerKit, bob: Account) -> None:
    folder = notes(d1)
    name = f"user.oaio.access.{bob.user}"
    _fails(errno.EAGAIN, lambda: os.getxattr(folder, name))
    wait_for(lambda: _errno(lambda: os.getxattr(folder, name)) == errno.ENODATA)
    d1.ask("share", word=["notes", None], user=bob.user, right="r")
    assert os.getxattr(folder, name) == b"r"


def _right_of(kit: MountKit, who: Account) -> str:
    told = json.loads(done(kit.oaiofs("users", "notes", "--json")))["users"]
    return next((one["right"] for one in told if one["user"] == who.user), "")


def _errno(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def _fails(code: int, call: Callable[[], object]) -> None:
    assert _errno(call) == code

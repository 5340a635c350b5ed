"""The mount, row by row: one test for each row of the README's semantics table, named after it.

Rows about two devices are in ``test_two_devices``, those about an unreachable server in ``test_offline``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from oaiofs.core import names
from oaiofs.core.model import OLDEST_STAMP, OaioId, Outgoing, Right, Stamp
from oaiofs.server import service
from tests.mountkit import Account, Cloud, MountKit, MountMaker, mounting, needs_fuse, tree, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused

pytestmark = needs_fuse

LONG_NAME = "ä" * 128  # 256 bytes


@pytest.fixture(scope="module")
def owner(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("rows"))


@pytest.fixture(scope="module")
def make(oaio_server: ServerKit, owner: Account) -> Iterator[MountMaker]:
    with mounting(oaio_server, owner) as maker:
        yield maker


@pytest.fixture(scope="module")
def here(make: MountMaker) -> MountKit:
    """The mount of all tests that need no fresh one; each works in objects of its own."""
    return make("here", lifetime=600)


@pytest.fixture(scope="module")
def cloud(oaio_server: ServerKit, owner: Account) -> Cloud:
    return Cloud(oaio_server, owner)


@pytest.fixture
def remount(new_mount: MountMaker, owner: Account) -> Iterator[MountKit]:
    """A mount of the same account that a test may end and start again."""
    return new_mount("again", owner)


def make_object(kit: MountKit, name: str, **files: str) -> Path:
    """A new object with these files (``_`` stands for the dot), known to the servers when this returns."""
    (kit.path / name).mkdir()
    for file, text in files.items():
        (kit.path / name / file.replace("_", ".")).write_text(text)
    kit.sync()
    return kit.path / name


def xattr(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.oaio.{name}").decode()


def make_remote(cloud: Cloud, name: str, number: int = 0) -> OaioId:
    """An object that another client registered."""
    stamp = Stamp(str(int(OLDEST_STAMP) + 1000 + number))
    oaio_id = names.make_oaio_id("app", cloud.account.user, "afar", {"_name": name}, (), stamp)
    made = Outgoing(oaio_id, stamp, "", {"_name": name, "number": number}, (), {}, (), "Digi")
    cloud.ask(lambda server: server.register(made))
    return oaio_id


def test_list_root(here: MountKit, cloud: Cloud) -> None:
    make_remote(cloud, "listed from afar")
    wait_for(lambda: "listed from afar" in os.listdir(here.path))
    assert (here.path / "listed from afar").is_dir()
    assert json.loads((here.path / "listed from afar" / "values.json").read_text())["number"] == 0
    assert not [name for name in os.listdir(here.path) if name.startswith(".")]
    assert set(os.listdir(here.path)) == {one["name"] for one in here.status()["objects"]}


def test_mkdir_in_root(here: MountKit, cloud: Cloud) -> None:
    place = here.path / "Größe & Müll"
    place.mkdir()
    assert place.stat().st_mode & 0o777 == 0o755
    assert (place / "values.json").read_text(encoding="utf-8") == '{\n  "_name": "Größe & Müll"\n}\n'
    wait_for(lambda: place.name in cloud.objects())
    assert cloud.objects()[place.name].values == {"_name": place.name}
    refused(errno.EEXIST, place.mkdir)
    refused(errno.ENAMETOOLONG, (here.path / LONG_NAME).mkdir)
    refused(errno.EPERM, (here.path / ".Trash-0").mkdir)


def test_create_a_file_in_root(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "beside", a_txt="a")
    refused(errno.EPERM, (here.path / "stray.txt").touch)
    refused(errno.EPERM, lambda: (here.path / "stray").symlink_to("beside"))
    refused(errno.EPERM, lambda: (place / "a.txt").rename(here.path / "stray.txt"))
    assert "stray.txt" not in os.listdir(here.path)
    assert (place / "a.txt").read_text() == "a"


def test_mv_object(here: MountKit, cloud: Cloud) -> None:
    old = make_object(here, "before", a_txt="a")
    make_object(here, "occupied")
    oaio_id, ino = xattr(old, "id"), old.stat().st_ino
    new = old.rename(here.path / "after")
    assert not old.exists()
    assert json.loads((new / "values.json").read_text()) == {"_name": "after"}
    assert (xattr(new, "id"), new.stat().st_ino, tree(new)["a.txt"]) == (oaio_id, ino, b"a")
    wait_for(lambda: "after" in cloud.objects())
    assert cloud.objects()["after"].oaio_id == oaio_id
    assert "before" not in cloud.objects()
    refused(errno.ENOTEMPTY, lambda: new.rename(here.path / "occupied"))
    refused(errno.ENAMETOOLONG, lambda: new.rename(here.path / LONG_NAME))


def test_rmdir_or_rm_r_of_an_object(here: MountKit, cloud: Cloud) -> None:
    kept, place = make_object(here, "empty"), make_object(here, "full", a_txt="precious")
    remote = cloud.objects()["full"]
    refused(errno.ENOTEMPTY, place.rmdir)
    shutil.rmtree(place)
    kept.rmdir()
    assert not {"full", "empty"} & set(os.listdir(here.path))
    wait_for(lambda: not {"full", "empty"} & cloud.objects().keys())
    assert cloud.stored(remote)[f"{remote.stamp}/a.txt"] == b"precious"
    notes = [json.loads(path.read_text()) for path in (here.client_root / "trash").glob("*.json")]
    assert {"full", "empty"} <= {note["name"] for note in notes}


def test_rmdir_of_a_shared_object_ends_the_own_subscription(
    here: MountKit, cloud: Cloud, new_mount: MountMaker, account: Account
) -> None:
    make_object(here, "lent", a_txt="mine")
    cloud.share(cloud.objects()["lent"], account.user, Right.UPDATE)
    theirs = new_mount("theirs", account)
    wait_for(lambda: "lent" in os.listdir(theirs.path))
    (theirs.path / "lent" / "a.txt").write_text("changed by a friend")
    wait_same(lambda: (here.path / "lent" / "a.txt").read_text(), "changed by a friend")
    shutil.rmtree(theirs.path / "lent")
    remote = cloud.objects()["lent"]
    wait_for(lambda: cloud.ask(lambda s: s.subscribers(remote.oaio_id))[account.user] is Right.NONE)
    theirs.sync()
    assert os.listdir(theirs.path) == []
    here.sync()
    assert "lent" in os.listdir(here.path)


def test_read_a_file(here: MountKit, cloud: Cloud, remount: MountKit) -> None:
    make_object(here, "pictures", a_bin="first", b_bin="second")
    place = remount.path / "pictures"
    wait_for(lambda: place.exists() and xattr(place, "state") == "online-only")
    assert (place / "a.bin").stat().st_size == 5
    here_now = [path.name for path in (remount.client_root / "objects").rglob("*.bin")]
    assert here_now == []
    assert (place / "a.bin").read_bytes() == b"first"
    assert [path.name for path in (remount.client_root / "objects").rglob("*.bin")] == ["a.bin"]
    cloud.spoil(cloud.objects()["pictures"], "b.bin", b"sEcond")
    refused(errno.EIO, (place / "b.bin").read_bytes)
    cloud.spoil(cloud.objects()["pictures"], "b.bin", b"second")
    assert (place / "b.bin").read_bytes() == b"second"


def test_write_and_close_a_file(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "letters", a_txt="one")
    (place / "a.txt").write_text("two")
    assert [path.read_text() for path in (here.client_root / "objects").rglob("letters*/a.txt")] == ["two"]
    wait_same(lambda: cloud.version(cloud.objects()["letters"]), {"a.txt": b"two"})
    assert len(cloud.stamps("letters")) == 2
    (place / "a.txt.new").write_text("three")
    (place / "a.txt.new").rename(place / "a.txt")
    wait_same(lambda: cloud.version(cloud.objects()["letters"]), {"a.txt": b"three"})
    here.sync()
    assert len(cloud.stamps("letters")) == 3


def test_write_with_right_r(here: MountKit, cloud: Cloud, new_mount: MountMaker, account: Account) -> None:
    make_object(here, "read only", a_txt="look")
    cloud.share(cloud.objects()["read only"], account.user, Right.READ)
    place = new_mount("reader", account).path / "read only"
    wait_for(place.exists)
    file = place / "a.txt"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, file)] == [0o555, 0o444]
    assert file.read_text() == "look"
    assert xattr(place, "right") == "r"
    for attempt in (
        lambda: file.write_text("mine"), lambda: open(file, "ab").close(), (place / "new").touch,
        (place / "folder").mkdir, file.unlink, lambda: file.rename(place / "b.txt"), lambda: os.truncate(file, 0),
        lambda: (place / "values.json").write_text("{}"), (place / "values.json").unlink,
        lambda: place.rename(place.parent / "mine"), lambda: os.setxattr(file, "user.note", b"x"),
    ):  # fmt: skip
        refused(errno.EACCES, attempt)
    refused(errno.EPERM, lambda: file.chmod(0o644))
    refused(errno.EPERM, lambda: os.utime(file, ns=(0, 0)))
    assert file.read_text() == "look"


def test_a_right_that_is_given_or_taken_is_in_force_at_once(
    here: MountKit, cloud: Cloud, new_mount: MountMaker, account: Account
) -> None:
    make_object(here, "opening", a_txt="look")
    remote = cloud.objects()["opening"]
    cloud.share(remote, account.user, Right.READ)
    theirs = new_mount("theirs", account)
    file = theirs.path / "opening" / "a.txt"
    wait_for(file.exists)
    refused(errno.EACCES, lambda: file.write_text("mine"))
    cloud.share(remote, account.user, Right.UPDATE)
    wait_for(lambda: xattr(file.parent, "right") == "U")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    file.write_text("ours")
    wait_same(lambda: (here.path / "opening" / "a.txt").read_text(), "ours")
    cloud.share(remote, account.user, Right.READ)
    wait_for(lambda: xattr(file.parent, "right") == "r")
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    refused(errno.EACCES, lambda: file.write_text("mine again"))


def test_create_rename_and_delete_inside_an_object(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "folders")
    (place / "a" / "b").mkdir(parents=True)
    (place / "empty").mkdir()
    (place / "a" / "b" / "deep.txt").write_text("deep")
    (place / "a" / "gone.txt").write_text("gone")
    here.sync()
    assert cloud.version(cloud.objects()["folders"]) == {"a/b/deep.txt": b"deep", "a/gone.txt": b"gone"}
    (place / "a" / "gone.txt").unlink()
    (place / "a").rename(place / "c")
    refused(errno.ENOTEMPTY, (place / "c").rmdir)
    refused(errno.ENAMETOOLONG, (place / LONG_NAME).touch)
    refused(errno.EEXIST, lambda: open(place / "c" / "b" / "deep.txt", "x"))
    here.sync()
    assert cloud.version(cloud.objects()["folders"]) == {"c/b/deep.txt": b"deep"}
    assert tree(place) == {
        "c": None, "c/b": None, "c/b/deep.txt": b"deep", "empty": None, "values.json": b'{\n  "_name": "folders"\n}\n',
    }  # fmt: skip


def test_save_values_json(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "settings")
    sidecar = place / "values.json"
    before = cloud.objects()["settings"]
    draft = '{\n  "_name": "settings",\n  "size": 1,,\n}\n'
    refused(errno.EINVAL, lambda: sidecar.write_text(draft))
    assert sidecar.read_text() == draft
    assert "Line 3, column 13" in xattr(place, "error")
    shown = here.shown("settings")
    assert (shown["state"], shown["draft"]["line"], shown["draft"]["column"]) == ("draft", 3, 13)
    assert "Line 3, column 13" in here.oaiofs("status", place).stdout
    here.sync()
    assert cloud.objects()["settings"] == before
    sidecar.write_text('{"_name": "settings", "size": 1}')
    refused(errno.ENODATA, lambda: xattr(place, "error"))
    assert here.shown("settings")["state"] != "draft"
    wait_same(lambda: cloud.objects()["settings"].values, {"_name": "settings", "size": 1})

    temporary = place / "values.json.tmp"
    temporary.write_text("{bad")
    refused(errno.EINVAL, lambda: temporary.rename(sidecar))
    assert (sidecar.read_text(), "Line 1, column 2" in xattr(place, "error")) == ("{bad", True)
    temporary.write_text('{"_name": "settings", "size": 2}')
    temporary.rename(sidecar)
    refused(errno.ENODATA, lambda: xattr(place, "error"))
    here.sync()
    now = cloud.objects()["settings"]
    assert (now.values, now.file_paths) == ({"_name": "settings", "size": 2}, ())


def test_delete_values_json(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "bare")
    before = (place / "values.json").read_text()
    (place / "values.json").unlink()
    assert not (place / "values.json").exists()
    wait_for((place / "values.json").exists)
    assert (place / "values.json").read_text() == before
    assert "values.json" in os.listdir(place)


def test_an_object_disappears_from_the_server(
    here: MountKit, cloud: Cloud, new_mount: MountMaker, owner: Account
) -> None:
    make_object(here, "fading", a_txt="known to the server")
    make_object(here, "edited", a_txt="known to the server")
    patient = new_mount("patient", owner, quiet=60.0)
    file = patient.path / "edited" / "a.txt"
    wait_for(lambda: file.exists() and (patient.path / "fading").exists())
    patient.expect("edited is gone from the server", "changes of 1 objects go to the server")
    file.write_text("unpushed")
    for name in ("fading", "edited"):
        cloud.delete(name)
    wait_for(lambda: "fading" not in os.listdir(patient.path))
    wait_for(lambda: "gone from the server" in patient.shown("edited")["error"])
    assert file.read_text() == "unpushed"
    assert "gone from the server" in xattr(file.parent, "error")
    wait_for(lambda: not {"fading", "edited"} & set(os.listdir(here.path)))
    assert {path.read_text() for path in (here.client_root / "trash").rglob("a.txt")} >= {"known to the server"}


def test_fsync(here: MountKit) -> None:
    place = make_object(here, "durable")
    with open(place / "a.txt", "wb", buffering=0) as file:
        file.write(b"to the disk")
        os.fsync(file.fileno())
        [copy] = (here.client_root / "objects").rglob("durable*/a.txt")
        assert copy.read_bytes() == b"to the disk"
    folder = os.open(place, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def test_chmod_chown_and_exec_bit(remount: MountKit) -> None:
    place = make_object(remount, "tools", run_sh="#!/bin/sh\necho it runs\n")
    script = place / "run.sh"
    assert not os.access(script, os.X_OK)
    script.chmod(0o750)
    os.chown(script, os.getuid(), os.getgid())
    (place / "private").mkdir(0o700)
    remount.sync()
    remount.stop()
    remount.start()
    assert stat.S_IMODE(script.stat().st_mode) == 0o750
    assert stat.S_IMODE((place / "private").stat().st_mode) == 0o700
    assert (script.stat().st_uid, script.stat().st_gid) == (os.getuid(), os.getgid())
    assert os.access(script, os.X_OK)


def test_utimens(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "dated", a_txt="old")
    exact = 1_234_567_890_123_456_789
    os.utime(place / "a.txt", ns=(exact - 1, exact))
    status = (place / "a.txt").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (exact - 1, exact)
    (place / "b.txt").write_text("new")
    os.utime(place / "b.txt", ns=(exact, exact))
    written = (place / "c.txt").write_text("untouched") and (place / "c.txt").stat().st_mtime_ns
    here.sync()
    assert [(place / name).stat().st_mtime_ns for name in ("a.txt", "b.txt", "c.txt")] == [exact, exact, written]
    remote = cloud.objects()["dated"]
    facts = cloud.ask_storage(lambda host: host.list_tree(f"{remote.oaio_id}/{remote.stamp}"))
    assert facts["b.txt"].mtime_ns == exact // 1_000_000 * 1_000_000
    assert facts["c.txt"].mtime_ns == written // 1_000_000 * 1_000_000


def test_symlink_hard_link_and_device_node(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "links", a_txt="a")
    refused(errno.EPERM, lambda: (place / "link").symlink_to("a.txt"))
    refused(errno.EPERM, lambda: (place / "hard").hardlink_to(place / "a.txt"))
    refused(errno.EPERM, lambda: os.mkfifo(place / "pipe"))
    (place / ".#a.txt").symlink_to("me@host.1234")
    assert os.readlink(place / ".#a.txt") == "me@host.1234"
    (place / "a.txt").write_text("b")
    here.sync()
    assert cloud.version(cloud.objects()["links"]) == {"a.txt": b"b"}
    assert os.readlink(place / ".#a.txt") == "me@host.1234"


def test_editors_own_files(new_mount: MountMaker, cloud: Cloud, owner: Account) -> None:
    kit = new_mount("editor", owner, environ={"OAIOFS_LOCAL_ONLY": "*.scratch"})
    place = make_object(kit, "desk", a_txt="a")
    own = (".a.txt.swp", "a.txt~", "#a.txt#", ".goutputstream-ABC123", "~$a.doc", ".~lock.a.odt#", "x.part",
           "x.crdownload", ".DS_Store", ".nfs0001", ".fuse_hidden0001", "mine.scratch")  # fmt: skip
    for name in own:
        (place / name).write_text("for the editor")
    (place / ".env.sample").write_text("the user's")
    kit.sync()
    assert cloud.version(cloud.objects()["desk"]) == {"a.txt": b"a", ".env.sample": b"the user's"}
    kit.stop()
    kit.start()
    assert {name for name in os.listdir(place) if (place / name).read_text() == "for the editor"} == set(own)
    versions = cloud.stamps("desk")
    (place / "a.txt~").unlink()
    kit.sync()
    assert cloud.stamps("desk") == versions


def test_df_and_statfs(oaio_server: ServerKit, account: Account, new_mount: MountMaker, cloud: Cloud) -> None:
    total = 64 << 20
    service.add_storage(oaio_server.data, "Digi", account.user, "secret", "/", user=account.user, quota=total)
    kit = new_mount()
    wait_for(lambda: os.statvfs(kit.path).f_blocks * os.statvfs(kit.path).f_frsize == total)
    room = os.statvfs(kit.path)
    assert (room.f_bavail * room.f_frsize, room.f_namemax) == (total, 255)
    assert shutil.disk_usage(kit.path).total == total


def test_xattrs(here: MountKit, cloud: Cloud, owner: Account) -> None:
    place = make_object(here, "described", a_txt="a")
    remote = cloud.objects()["described"]
    expected = {
        "id": remote.oaio_id, "stamp": remote.stamp, "state": "synced", "right": "C", "name": "described",
        "csh": "Digi", "device": "here", "app": "oaiofs",
    }  # fmt: skip
    for path in (place, place / "a.txt"):
        assert {name: xattr(path, name) for name in expected} == expected
        assert os.listxattr(path) == []  # else cp -a and mv would try to take them along
        refused(errno.ENODATA, lambda path=path: xattr(path, "error"))
        refused(errno.ENODATA, lambda path=path: xattr(path, "nonsense"))
        refused(errno.EPERM, lambda path=path: os.setxattr(path, "user.oaio.id", b"mine"))
    os.setxattr(place / "a.txt", "user.mine", b"kept")
    assert os.getxattr(place / "a.txt", "user.mine") == b"kept"
    assert "user.mine" in os.listxattr(place / "a.txt")
    os.removexattr(place / "a.txt", "user.mine")
    refused(errno.ENODATA, lambda: os.getxattr(place / "a.txt", "user.mine"))
    (place / "a.txt").write_text("b")
    assert xattr(place, "state") in ("dirty", "pushing")


def test_own_files(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "told of", a_txt="a")
    own = here.path / ".oaiofs"
    assert ".oaiofs" not in os.listdir(here.path)
    assert sorted(os.listdir(own)) == ["by-id", "conflicts.json", "status.json"]
    status = json.loads((own / "status.json").read_text())
    assert status["mountpoint"] == str(here.path)
    assert "told of" in {one["name"] for one in status["objects"]}
    assert json.loads((own / "conflicts.json").read_text()) == {"conflicts": []}
    oaio_id = cloud.objects()["told of"].oaio_id
    assert (own / "by-id" / oaio_id / "a.txt").samefile(place / "a.txt")
    for attempt in ((own / "new").touch, lambda: (own / "status.json").write_text("x"), (own / "folder").mkdir,
                    (own / "status.json").unlink):  # fmt: skip
        refused(errno.EROFS, attempt)
    (place / "a.txt").write_text("b")
    status = json.loads((own / "status.json").read_text())
    assert {one["name"] for one in status["objects"] if one["pending"]} == {"told of"}


def test_display_names(oaio_server: ServerKit, account: Account, new_mount: MountMaker) -> None:
    for number, name in enumerate(("twin", "twin", "a/b", "..", ".hidden", "ü" * 200)):
        make_remote(Cloud(oaio_server, account), name, number)
    kit = new_mount("namer", account)
    wait_for(lambda: len(os.listdir(kit.path)) == 6)
    names = set(os.listdir(kit.path))
    assert {"twin", "twin ~2"} < names
    assert not [name for name in names if name.startswith(".") or "/" in name or len(name.encode()) > 255]

    def numbers() -> dict[str, int]:
        return {path.name: json.loads((path / "values.json").read_text())["number"] for path in kit.path.iterdir()}

    before = numbers()
    assert sorted(before.values()) == list(range(6))
    kit.stop()
    kit.start()
    assert numbers() == before


def test_st_ino(here: MountKit, cloud: Cloud, remount: MountKit) -> None:
    place = make_object(here, "numbered", a_txt="one", b_txt="one")
    there = remount.path / "numbered"
    wait_for(there.exists)

    def inos(*names: str) -> list[int]:
        return [(there / name).stat().st_ino for name in names]

    before = inos("", "a.txt", "b.txt", "values.json")
    assert (there / "a.txt").read_text() == "one"
    remount.stop()
    remount.start()
    assert inos("", "a.txt", "b.txt", "values.json") == before
    (there / "b.txt").rename(there / "c.txt")
    assert inos("c.txt") == [before[2]]
    remount.sync()
    here.sync()
    (place / "a.txt").write_text("two")
    wait_same(lambda: (there / "a.txt").read_text(), "two")
    assert inos("a.txt") != [before[1]]
    assert inos("", "c.txt", "values.json") == [before[0], before[2], before[3]]


def test_an_attached_file_called_values_json(here: MountKit, cloud: Cloud, oaio_server: ServerKit) -> None:
    stamp, oaio_id = Stamp(str(int(OLDEST_STAMP) + 99)), OaioId("app⫻named like the sidecar")

    async def source() -> object:
        yield b"not the sidecar"

    cloud.ask_storage(lambda host: host.put(f"{oaio_id}/{stamp}/values.json", source, 15, 0))
    made = Outgoing(oaio_id, stamp, "", {"_name": "clash", "x": 1}, ("values.json",), {}, (), "Digi")
    cloud.ask(lambda server: server.register(made))
    wait_for((here.path / "clash").exists)
    assert (here.path / "clash" / "values.json").read_bytes() == b"not the sidecar"
    assert json.loads((here.path / "clash" / "values~.json").read_text()) == {"_name": "clash", "x": 1}

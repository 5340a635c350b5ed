"""The mount, row by row: the rows of the README's semantics table about attributes and names."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator
from functools import partial

from oaiofs.core.model import OLDEST_STAMP, OaioId, Outgoing, Stamp
from oaiofs.server import service
from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused
from .rows import cloud, here, make, make_object, make_remote, owner, remount, xattr

__all__ = ["cloud", "here", "make", "owner", "remount"]

pytestmark = needs_fuse


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


def test_xattrs(new_mount: MountMaker, cloud: Cloud, owner: Account) -> None:
    place = make_object(new_mount("patient", owner, quiet=60.0), "described", a_txt="a")
    remote = cloud.objects()["described"]
    expected = {
        "id": remote.oaio_id, "stamp": remote.stamp, "state": "synced", "right": "C", "name": "described",
        "csh": "Digi", "device": "patient", "app": "oaiofs",
    }  # fmt: skip
    for path in (place, place / "a.txt"):
        assert {name: xattr(path, name) for name in expected} == expected
        assert os.listxattr(path) == []  # else cp -a and mv would try to take them along
        refused(errno.ENODATA, partial(xattr, path, "error"))
        refused(errno.ENODATA, partial(xattr, path, "nonsense"))
        refused(errno.EPERM, partial(os.setxattr, path, "user.oaio.id", b"mine"))
    os.setxattr(place / "a.txt", "user.mine", b"kept")
    assert os.getxattr(place / "a.txt", "user.mine") == b"kept"
    assert "user.mine" in os.listxattr(place / "a.txt")
    os.removexattr(place / "a.txt", "user.mine")
    refused(errno.ENODATA, lambda: os.getxattr(place / "a.txt", "user.mine"))
    (place / "a.txt").write_text("b")
    assert xattr(place, "state") == "dirty"


def test_own_files(new_mount: MountMaker, cloud: Cloud, owner: Account) -> None:
    kit = new_mount("patient", owner, quiet=60.0)
    place = make_object(kit, "told of", a_txt="a")
    own = kit.path / ".oaiofs"
    assert ".oaiofs" not in os.listdir(kit.path)
    assert sorted(os.listdir(own)) == ["by-id", "conflicts.json", "status.json"]
    status = json.loads((own / "status.json").read_text())
    assert status["mountpoint"] == str(kit.path)
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

    async def source() -> AsyncIterator[bytes]:
        yield b"not the sidecar"

    cloud.ask_storage(lambda host: host.put(f"{oaio_id}/{stamp}/values.json", source, 15, 0))
    made = Outgoing(oaio_id, stamp, "", {"_name": "clash", "x": 1}, ("values.json",), {}, (), "Digi")
    cloud.ask(lambda server: server.register(made))
    wait_for((here.path / "clash").exists)
    assert (here.path / "clash" / "values.json").read_bytes() == b"not the sidecar"
    assert json.loads((here.path / "clash" / "values~.json").read_text()) == {"_name": "clash", "x": 1}

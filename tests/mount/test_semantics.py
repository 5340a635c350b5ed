"""The mount, row by row: one test for each row of the README's semantics table, named after it.

Rows about attributes and names are in ``test_attributes``, those about two devices in ``test_two_devices``, those about
an unreachable server in ``test_offline``, and what a local disk does in ``test_local_disk``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import time

import pytest

from oaiofs.cache.objects import SIDECAR_GRACE
from oaiofs.core.model import Right
from oaiofs.server import service
from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, tree, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused
from .rows import cloud, here, make, make_object, make_remote, owner, remount, xattr

__all__ = ["cloud", "here", "make", "owner", "remount"]

pytestmark = needs_fuse

LONG_NAME = "ä" * 128  # 256 bytes


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


def test_write_and_close_a_file(here: MountKit, cloud: Cloud, new_mount: MountMaker, owner: Account) -> None:
    place = make_object(here, "letters", a_txt="one")
    before = len(cloud.stamps("letters"))
    (place / "a.txt").write_text("two")
    assert [path.read_text() for path in (here.client_root / "objects").rglob("letters*/a.txt")] == ["two"]
    wait_same(lambda: cloud.version(cloud.objects()["letters"]), {"a.txt": b"two"})
    assert len(cloud.stamps("letters")) == before + 1
    patient = new_mount("patient", owner, quiet=60.0)  # however long the save takes, nothing is sent in the middle
    patient.sync()
    there = patient.path / "letters"
    (there / "a.txt.new").write_text("three")
    (there / "a.txt.new").rename(there / "a.txt")
    patient.sync()
    assert cloud.version(cloud.objects()["letters"]) == {"a.txt": b"three"}
    wait_same((place / "a.txt").read_text, "three")
    here.sync()
    assert len(cloud.stamps("letters")) == before + 2


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
    wait_same(lambda: [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)], [0o755, 0o644])
    file.write_text("ours")
    wait_same(lambda: (here.path / "opening" / "a.txt").read_text(), "ours")
    cloud.share(remote, account.user, Right.READ)
    wait_for(lambda: xattr(file.parent, "right") == "r")
    wait_same(lambda: stat.S_IMODE(file.stat().st_mode), 0o444)
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
    for _ in range(9):
        begun = time.monotonic()
        (place / "values.json").unlink()
        is_there = (place / "values.json").exists()
        if time.monotonic() - begun < SIDECAR_GRACE:
            break
        # The machine paused for so long that it may be back already.
        wait_for((place / "values.json").exists)
    assert not is_there
    wait_for((place / "values.json").exists)
    assert (place / "values.json").read_text() == before
    assert "values.json" in os.listdir(place)


def test_an_object_disappears_from_the_server(
    here: MountKit, cloud: Cloud, new_mount: MountMaker, owner: Account
) -> None:
    make_object(here, "staying")  # a listing without anything in it would not be believed at once
    make_object(here, "fading", a_txt="known to the server")
    make_object(here, "edited", a_txt="known to the server")
    patient = new_mount("patient", owner, quiet=60.0)
    file = patient.path / "edited" / "a.txt"
    wait_for(lambda: file.exists() and (patient.path / "fading").exists())
    patient.expect("edited is gone from the server", "changes to go to the server with the next mount")
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


def test_write_to_a_full_disk(oaio_server: ServerKit, account: Account, new_mount: MountMaker) -> None:
    kit = new_mount(start=False)
    kit.expect("No space left on device|disk with the client root is full")
    cloud = Cloud(oaio_server, account)
    kit.client_root.mkdir(mode=0o700)
    small = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "none", str(kit.client_root)]
    if subprocess.run(small, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        kit.start()
        place = kit.path / "too big"
        place.mkdir()
        with open(place / "kept.txt", "wb") as file:
            file.write(b"before the disk was full")
        refused(errno.ENOSPC, lambda: (place / "big.bin").write_bytes(bytes(12 << 20)))
        assert (place / "kept.txt").read_bytes() == b"before the disk was full"
        (place / "big.bin").unlink()
        (place / "kept.txt").write_bytes(b"and after it")
        kit.sync()
        assert cloud.version(cloud.objects()["too big"]) == {"kept.txt": b"and after it"}
        kit.stop()
    finally:
        kit.end()
        subprocess.run(["umount", "-l", kit.client_root], check=True)


def test_write_more_than_the_storage_holds(
    oaio_server: ServerKit, account: Account, new_mount: MountMaker
) -> None:
    service.add_storage(oaio_server.data, "Digi", account.user, "secret", "/", user=account.user, quota=1 << 20)
    kit = new_mount()
    kit.expect("WARNING oaiofs.sync: ", "to go to the server with the next mount")
    (kit.path / "too much").mkdir()
    (kit.path / "too much" / "big.bin").write_bytes(bytes(2 << 20))
    wait_for(lambda: kit.shown("too much").get("state") == "error")
    assert (kit.path / "too much" / "big.bin").stat().st_size == 2 << 20
    (kit.path / "small").mkdir()
    (kit.path / "small" / "a.txt").write_text("others go on")
    wait_for(lambda: Cloud(oaio_server, account).objects().get("small"))

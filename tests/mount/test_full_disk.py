"""This machine's disk is full: programs are told at once, what was acknowledged stays, the mount lives on and recovers.

Each mount has its client root on a small file system of its own, filled up by a file beside it. The storage host's
quota is another matter (``remote``).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.mountkit import Cloud, MountKit, MountMaker, needs_fuse, tree, wait_for, wait_same

from .refusing import refused
from .rows import make_object

pytestmark = [*needs_fuse, pytest.mark.skipif(os.geteuid() != 0, reason="mounts small file systems: needs root")]

MIB = 1 << 20
FULL = r"this machine's disk is full"


class SmallDisk:
    """A file system of a few MiB for a mount's client root."""

    def __init__(self, kit: MountKit, size: int) -> None:
        self.kit = kit
        self.place = kit.client_root
        self._ballast = self.place / "filled"
        self.place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "small", self.place], check=True)

    def free(self) -> int:
        disk = os.statvfs(self.place)
        return disk.f_bavail * disk.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Use up all but about *leave* bytes."""
        with open(self._ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"z" * min(MIB, max(4096, self.free() - leave)))
                if leave and self.free() <= leave:
                    break

    def make_room(self) -> None:
        self._ballast.unlink()

    def close(self) -> None:
        self.kit.end()
        subprocess.run(["umount", self.place], check=True)


@contextlib.contextmanager
def on_small_disk(new_mount: MountMaker, size: int) -> Iterator[tuple[MountKit, SmallDisk]]:
    kit = new_mount("d1", start=False)
    kit.expect(FULL, os.strerror(errno.ENOSPC))
    disk = SmallDisk(kit, size)
    try:
        kit.start()
        yield kit, disk
        if kit.running:
            kit.stop()
    finally:
        disk.close()


@pytest.fixture
def small(new_mount: MountMaker) -> Iterator[tuple[MountKit, SmallDisk]]:
    """A mount whose disk is small enough to count as nearly full from the beginning."""
    with on_small_disk(new_mount, 24 * MIB) as both:
        yield both


@pytest.fixture
def roomy(new_mount: MountMaker) -> Iterator[tuple[MountKit, SmallDisk]]:
    """A mount whose disk has room for more than the kernel hands on at once."""
    with on_small_disk(new_mount, 200 * MIB) as both:
        yield both


class Far(Protocol):
    """Makes an object on another device, complete on the servers when it returns."""

    def __call__(self, name: str, files: dict[str, bytes]) -> None: ...


@pytest.fixture
def make_far(new_mount: MountMaker) -> Far:
    far = new_mount("far")

    def make(name: str, files: dict[str, bytes]) -> None:
        for path, data in files.items():
            (far.path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (far.path / name / path).write_bytes(data)
        far.sync(90)

    return make


def program(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def copy_of(disk: SmallDisk, path: Path) -> Path:
    """The working copy of a file in the mount."""
    [found] = disk.place.glob(f"objects/{path.parent.name}.*/{path.name}")
    return found


# ---------------------------------------------------------------------------------------- programs are told


@pytest.mark.parametrize(
    "words",
    [
        ["bash", "-c", "echo text > {}"],
        ["cp", "/bin/sh", "{}"],
        ["dd", "if=/dev/zero", "of={}", "bs=64k", "count=32"],
        ["tee", "{}"],
        ["python3", "-c", "with open('{}', 'w') as f: f.write('text')"],
    ],
)
def test_a_program_is_told_by_write_itself(small: tuple[MountKit, SmallDisk], words: list[str]) -> None:
    kit, disk = small
    place = make_object(kit, "notes", a_txt="first")
    disk.fill()
    done = subprocess.run(
        [word.format(place / "new") for word in words], input="text\n" * 10_000, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert os.strerror(errno.ENOSPC) in done.stderr
    assert (place / "new").stat().st_size == copy_of(disk, place / "new").stat().st_size
    assert (place / "new").read_bytes() == copy_of(disk, place / "new").read_bytes()
    assert (place / "a.txt").read_text() == "first"


def test_what_the_kernel_took_and_the_disk_did_not_is_told_at_fsync_and_close(
    roomy: tuple[MountKit, SmallDisk],
) -> None:
    """With much room the kernel keeps writes; then it hands them on and there is none."""
    kit, disk = roomy
    place = make_object(kit, "notes", a_txt="first")
    disk.fill(leave=132 * MIB)
    descriptor = os.open(place / "big", os.O_WRONLY | os.O_CREAT)
    before = os.fstat(descriptor).st_ino
    for number in range(150):
        os.write(descriptor, bytes([number + 1]) * MIB)
    refused(errno.ENOSPC, lambda: os.fsync(descriptor))
    refused(errno.ENOSPC, lambda: os.fsync(descriptor))  # what is lost is lost: a second try does not say otherwise
    refused(errno.ENOSPC, lambda: os.close(descriptor))
    wait_for(lambda: (place / "big").stat().st_ino != before)
    there = copy_of(disk, place / "big").read_bytes()
    assert (place / "big").stat().st_size == len(there) < 150 * MIB
    assert (place / "big").read_bytes() == there
    assert 0 not in there, "a hole is shown as data"
    disk.make_room()
    (place / "big").write_bytes(b"again")
    wait_same(lambda: kit.status()["pending"], 0)


def test_lost_bytes_in_the_middle_of_a_file_cost_nothing_of_what_it_had(roomy: tuple[MountKit, SmallDisk]) -> None:
    """Written sparsely: its holes can't be filled on the full disk, but what was there before is not cut off."""
    kit, disk = roomy
    place = make_object(kit, "notes", a_txt="first")
    with open(place / "sparse", "wb") as file:
        file.truncate(20 * MIB)
        file.seek(30 * MIB)
        file.write(b"the end")
    with open(place / "sparse", "r+b", buffering=0) as file:
        file.seek(MIB)
        disk.fill()  # first: what the kernel took it may hand on at any time
        file.writelines([b"n" * MIB] * 10)
        refused(errno.ENOSPC, lambda: os.fsync(file.fileno()))
        with contextlib.suppress(OSError):
            file.close()
    assert (place / "sparse").stat().st_size == 30 * MIB + 7
    assert (place / "sparse").read_bytes().endswith(b"the end")


def test_sqlite_loses_nothing_that_it_has_committed(small: tuple[MountKit, SmallDisk]) -> None:
    kit, disk = small
    place = make_object(kit, "notes")
    fill = """if True:
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)")
        try:
            while True:
                n = db.execute("INSERT INTO t (data) VALUES (randomblob(100000))").lastrowid
                print(n, flush=True)
        except sqlite3.Error as error:
            print(error, file=sys.stderr)
    """
    done = program("python3", "-c", fill, place / "app.db")
    assert done.stderr.strip() in ("database or disk is full", "disk I/O error")
    disk.fill()
    count = """if True:
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1])
        print(*db.execute("PRAGMA integrity_check").fetchone(), *db.execute("SELECT count(*) FROM t").fetchone())
    """
    disk.make_room()
    looked = program("python3", "-c", count, place / "app.db")
    assert looked.stdout.split() == ["ok", done.stdout.split()[-1]], looked.stderr


# ---------------------------------------------------------------------------------------- what was there stays


def test_a_failed_save_leaves_the_old_file(small: tuple[MountKit, SmallDisk]) -> None:
    kit, disk = small
    place = make_object(kit, "notes", a_txt="first")
    disk.fill()
    save = """if True:
        import os, sys
        path = sys.argv[1]
        with open(path + ".tmp", "w") as file:
            file.write("second" * 1000)
        os.rename(path + ".tmp", path)
    """
    assert "No space left" in program("python3", "-c", save, place / "a.txt").stderr
    assert (place / "a.txt").read_text() == "first"
    edit = ["-c", "set backupskip=", "-c", "normal 5000Asecond", "-c", "wq"]
    vim = program("vim", "-nNes", "-u", "NONE", *edit, place / "a.txt")
    assert vim.returncode != 0
    assert (place / "a.txt").read_text() == "first"
    disk.make_room()
    kit.sync()


def test_a_failed_save_of_values_leaves_the_values(small: tuple[MountKit, SmallDisk], cloud: Cloud) -> None:
    kit, disk = small
    place = make_object(kit, "notes", a_txt="first")
    (place / "values.json").write_text('{"_name": "notes", "n": 1}')
    kit.sync()
    disk.fill()
    new = json.dumps({"_name": "notes", "n": 2, "text": "x" * 50_000})
    descriptor = os.open(place / "values.json", os.O_WRONLY | os.O_TRUNC)
    with contextlib.suppress(OSError):
        os.write(descriptor, new.encode())
    refused(errno.ENOSPC, lambda: os.write(descriptor, new.encode()))
    with contextlib.suppress(OSError):
        os.close(descriptor)
    assert "disk was full" in kit.shown("notes")["error"]
    refused(errno.ENOSPC, lambda: (place / "temporary").write_text(new))
    assert os.listdir(place)
    assert cloud.objects()["notes"].values == {"_name": "notes", "n": 1}
    disk.make_room()
    (place / "values.json").write_text(new)
    kit.sync()
    assert cloud.objects()["notes"].values["n"] == 2
    assert not kit.shown("notes")["error"]


# ---------------------------------------------------------------------------------------- the mount lives on


def test_the_mount_lives_on_and_recovers(small: tuple[MountKit, SmallDisk], cloud: Cloud) -> None:
    kit, disk = small
    place = make_object(kit, "notes", **{f"f{number}_txt": str(number) for number in range(40)})
    (place / "folder").mkdir()
    (place / "values.json").unlink()
    disk.fill()
    assert len(os.listdir(place)) >= 41
    assert (place / "f7.txt").read_text() == "7"
    assert wait_for(lambda: FULL in json.dumps(kit.status()))
    assert FULL in (kit.path / ".oaiofs" / "status.json").read_text()
    (place / "f1.txt").rename(place / "moved.txt")
    (place / "f2.txt").rename(place / "f3.txt")
    (place / "folder").rmdir()
    (place / "f4.txt").unlink()
    assert (place / "f3.txt").read_text() == "2"
    kit.sync()  # what changed goes out, full or not
    expected = {f"f{number}.txt": str(number).encode() for number in range(40) if number not in (1, 2, 3, 4)}
    assert cloud.version(cloud.objects()["notes"]) == {**expected, "moved.txt": b"1", "f3.txt": b"2"}
    assert program("rm", "-r", place).returncode == 0
    assert not place.exists()
    disk.make_room()
    wait_for(lambda: FULL not in json.dumps(kit.status()))
    wait_for(lambda: (disk.place / "reserve").exists())
    make_object(kit, "again", a_txt="works")
    assert cloud.version(cloud.objects()["again"]) == {"a.txt": b"works"}


def test_rm_goes_on_for_longer_than_the_reserve_lasts(small: tuple[MountKit, SmallDisk], make_far: Far) -> None:
    """Placeholders: each removal needs rows, and none gives room back."""
    kit, disk = small
    make_far("far", {f"f{number}": b"x" for number in range(400)})
    wait_for(lambda: len(os.listdir(kit.path / "far")) == 401)
    disk.fill()
    assert program("rm", "-r", *(kit.path / "far").glob("f*")).stderr == ""
    assert os.listdir(kit.path / "far") == ["values.json"]


def test_edits_go_out_though_there_is_no_room_for_a_snapshot(small: tuple[MountKit, SmallDisk], cloud: Cloud) -> None:
    kit, disk = small
    place = make_object(kit, "notes", a_txt="first")
    data = os.urandom(6 * MIB)
    (place / "big").write_bytes(data)
    disk.fill()
    kit.sync()
    assert cloud.version(cloud.objects()["notes"]) == {"a.txt": b"first", "big": data}
    assert list(disk.place.glob("staging/*")) == []


def test_a_download_that_does_not_fit_says_so_and_leaves_nothing(
    small: tuple[MountKit, SmallDisk], make_far: Far
) -> None:
    kit, disk = small
    data = os.urandom(MIB)
    make_far("far", {"small.bin": data, "large.bin": os.urandom(30 * MIB)})
    wait_for(lambda: (kit.path / "far" / "large.bin").exists())
    refused(errno.ENOSPC, lambda: (kit.path / "far" / "large.bin").read_bytes())
    disk.fill()
    refused(errno.ENOSPC, lambda: (kit.path / "far" / "small.bin").read_bytes())
    assert list(disk.place.glob("staging/*")) == []
    disk.make_room()
    assert (kit.path / "far" / "small.bin").read_bytes() == data


def test_versions_come_in_once_there_is_room(small: tuple[MountKit, SmallDisk], make_far: Far) -> None:
    kit, disk = small
    disk.fill()
    with contextlib.suppress(OSError):
        (disk.place / "reserve").unlink()
    disk.fill()
    make_far("far", {f"folder{number}/deep/f": b"x" for number in range(20)})
    wait_for(lambda: FULL in json.dumps(kit.status()))
    disk.make_room()
    wait_for(lambda: len(tree(kit.path / "far")) == 61)


# ---------------------------------------------------------------------------------------- starting full


@pytest.mark.parametrize("killed", [True, False])
def test_a_mount_begins_on_a_full_disk(small: tuple[MountKit, SmallDisk], cloud: Cloud, killed: bool) -> None:
    kit, disk = small
    place = make_object(kit, "notes", a_txt="first", b_txt="second")
    disk.fill()
    if killed:
        kit.expect("was left by a mount that was killed")
        kit.kill()
    else:
        kit.stop()
    disk.fill()
    kit.start()
    assert (place / "a.txt").read_text() == "first"
    (place / "a.txt").unlink()
    (place / "b.txt").rename(place / "c.txt")
    kit.sync()
    assert cloud.version(cloud.objects()["notes"]) == {"c.txt": b"second"}


def test_a_first_mount_on_a_full_disk_says_what_to_do(new_mount: MountMaker) -> None:
    kit = new_mount("d1", start=False)
    disk = SmallDisk(kit, MIB)
    try:
        disk.fill()
        done = program_of(kit)
        assert done.returncode == 1
        assert "delete something" in done.stderr
        disk.make_room()
    finally:
        disk.close()


def program_of(kit: MountKit) -> subprocess.CompletedProcess[str]:
    return kit.oaiofs(*kit.words())

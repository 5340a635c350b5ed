"""The row "flock, fcntl locks, shared mmap, O_APPEND, O_EXCL, unlink-while-open, sparse files: as on a local disk".

What is written in one of these ways must also be what the servers get, not only what the kernel's cache shows: each
test looks there. Memory maps are used in a process of their own, because a fault in one can't be interrupted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mountkit import Account, Cloud, MountKit, mounting, needs_fuse, wait_same
from tests.serverkit import ServerKit

from .refusing import refused

pytestmark = needs_fuse

MIB = 1 << 20


@pytest.fixture(scope="module")
def owner(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("disk"))


@pytest.fixture(scope="module")
def kit(oaio_server: ServerKit, owner: Account) -> Iterator[MountKit]:
    with mounting(oaio_server, owner) as make:
        yield make(lifetime=600)


@pytest.fixture(scope="module")
def cloud(oaio_server: ServerKit, owner: Account) -> Cloud:
    return Cloud(oaio_server, owner)


@pytest.fixture
def place(kit: MountKit, request: pytest.FixtureRequest) -> Path:
    """A new object of the test's own."""
    folder = kit.path / str(request.node.name)
    folder.mkdir()
    return folder


def run(code: str, *arguments: object) -> None:
    """Run a Python program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def on_the_servers(kit: MountKit, cloud: Cloud, place: Path) -> dict[str, bytes]:
    kit.sync()
    return cloud.version(cloud.objects()[place.name])


def test_flock(place: Path) -> None:
    with open(place / "lock", "w") as first, open(place / "lock", "w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        refused(errno.EAGAIN, lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB))
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_fcntl_locks(place: Path) -> None:
    refusal = """if True:
        import errno, fcntl, sys
        with open(sys.argv[1], "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
            except OSError as error:
                assert error.errno in (errno.EAGAIN, errno.EACCES)
            else:
                raise SystemExit("a second program got the lock")
    """
    with open(place / "lock", "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
        run(refusal, place / "lock")


def test_shared_mmap(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "a.bin").write_bytes(bytes(3 * MIB))
    kit.sync()
    store = """if True:
        import mmap, os, sys
        descriptor = os.open(sys.argv[1], os.O_RDWR)
        with mmap.mmap(descriptor, 0) as memory:
            os.close(descriptor)
            memory[5:10] = b"first"
            memory[-4:] = b"last"
            with open(sys.argv[1], "rb") as file:
                assert file.read(10) == bytes(5) + b"first"
    """
    run(store, place / "a.bin")
    expected = bytes(5) + b"first" + bytes(3 * MIB - 14) + b"last"
    assert (place / "a.bin").read_bytes() == expected
    wait_same(lambda: cloud.version(cloud.objects()[place.name])["a.bin"] == expected, True)


def test_shared_mmap_sees_writes_of_others(place: Path) -> None:
    (place / "a.bin").write_bytes(b"before")
    look = """if True:
        import mmap, os, sys
        with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            assert memory[:] == b"before"
            with open(sys.argv[1], "r+b", buffering=0) as other:
                other.write(b"behind")
            assert memory[:] == b"behind", memory[:]
    """
    run(look, place / "a.bin")


def test_o_append(kit: MountKit, cloud: Cloud, place: Path) -> None:
    for line in ("one", "two", "three"):
        with open(place / "log", "a") as file:
            file.write(f"{line}\n")
    with open(place / "log", "ab", buffering=0) as first, open(place / "log", "ab", buffering=0) as second:
        for number in range(50):
            first.write(b"a%02d\n" % number)
            second.write(b"b%02d\n" % number)
    expected = b"one\ntwo\nthree\n" + b"".join(b"a%02d\nb%02d\n" % (n, n) for n in range(50))
    assert (place / "log").read_bytes() == expected
    assert on_the_servers(kit, cloud, place) == {"log": expected}


def test_o_excl(place: Path) -> None:
    descriptor = os.open(place / "once", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o400)
    refused(errno.EEXIST, lambda: os.open(place / "once", os.O_CREAT | os.O_EXCL | os.O_RDWR))
    os.write(descriptor, b"writable by who made it")
    os.close(descriptor)
    assert (place / "once").read_bytes() == b"writable by who made it"
    assert (place / "once").stat().st_mode & 0o777 == 0o400


def test_unlink_while_open(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "kept").write_text("kept")
    with open(place / "gone", "w+b", buffering=0) as file:
        file.write(b"nameless")
        (place / "gone").unlink()
        assert "gone" not in os.listdir(place)
        file.write(b", and written on")
        assert os.fstat(file.fileno()).st_size == 24
        os.ftruncate(file.fileno(), 23)
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
        file.seek(0)
        assert file.read() == b"nameless, and written o"
        (place / "gone").write_text("another of that name")
        assert os.pread(file.fileno(), 8, 0) == b"nameless"
    assert on_the_servers(kit, cloud, place) == {"kept": b"kept", "gone": b"another of that name"}


def test_rename_over_an_open_file(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "a.txt").write_text("old")
    with open(place / "a.txt", "r+b", buffering=0) as old:
        (place / "new").write_text("new")
        (place / "new").rename(place / "a.txt")
        assert old.read() == b"old"
        old.write(b", nobody sees this")
    assert (place / "a.txt").read_text() == "new"
    assert on_the_servers(kit, cloud, place) == {"a.txt": b"new"}


def test_rename_while_open(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "folder").mkdir()
    with open(place / "folder" / "a", "wb", buffering=0) as file:
        file.write(b"written under the old name")
        (place / "folder" / "a").rename(place / "folder" / "b")
        (place / "folder").rename(place / "other")
        file.write(b", and under the new one")
    expected = b"written under the old name, and under the new one"
    assert (place / "other" / "b").read_bytes() == expected
    assert on_the_servers(kit, cloud, place) == {"other/b": expected}


def test_sparse_files(kit: MountKit, cloud: Cloud, place: Path) -> None:
    with open(place / "holes", "wb") as file:
        file.truncate(10 * MIB)
        file.seek(5 * MIB)
        file.write(b"island")
        file.truncate(8 * MIB)
    expected = bytes(5 * MIB) + b"island" + bytes(3 * MIB - 6)
    assert (place / "holes").read_bytes() == expected
    [copy] = (kit.client_root / "objects").rglob("holes")
    kit.sync()
    assert copy.stat().st_blocks * 512 < MIB
    assert cloud.version(cloud.objects()[place.name])["holes"] == expected


def test_truncate(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "a.txt").write_text("0123456789")
    os.truncate(place / "a.txt", 4)
    assert (place / "a.txt").read_text() == "0123"
    os.truncate(place / "a.txt", 6)
    assert (place / "a.txt").read_bytes() == b"0123\0\0"
    with open(place / "a.txt", "r+b") as file:
        file.truncate(2)
        file.seek(0, os.SEEK_END)
        file.write(b"!")
    assert on_the_servers(kit, cloud, place) == {"a.txt": b"01!"}


def test_many_handles_of_one_file(kit: MountKit, cloud: Cloud, place: Path) -> None:
    (place / "a.txt").write_bytes(bytes(1000))
    handles = [open(place / "a.txt", "r+b", buffering=0) for _ in range(20)]
    for number, handle in enumerate(handles):
        os.pwrite(handle.fileno(), bytes([number + 1]), number * 50)
    for handle in handles:
        handle.close()
    expected = b"".join(bytes([number + 1]) + bytes(49) for number in range(20))
    assert on_the_servers(kit, cloud, place) == {"a.txt": expected}


def test_names_of_every_kind(kit: MountKit, cloud: Cloud, place: Path) -> None:
    names = ["Größe.txt", "日本語", "with blank", "emoji 🙂", " leading", "trailing ", "-dash", "%41+%2F", "a&b=c?d#e"]
    for name in names:
        (place / name).write_text(name)
    assert sorted(os.listdir(place)) == sorted([*names, "values.json"])
    assert on_the_servers(kit, cloud, place) == {name: name.encode() for name in names}
    with pytest.raises(OSError, match="Invalid argument"):
        os.mkdir(os.fsencode(place) + b"/\xff\xfe")

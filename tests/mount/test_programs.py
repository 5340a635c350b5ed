"""Everyday programs on a mount: copying, archiving, version control, databases, shells and file managers.

What they leave must be what they leave on a plain disk, and what the other device then has. Each test that compares
does so with the same program on a plain folder, not with what was thought that it would do.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mountkit import Account, Cloud, MountKit, mounting, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused
from .trees import SIDECAR, arrived, details, files, needs, remount, run

pytestmark = needs_fuse


@pytest.fixture(scope="module")
def account(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("programs"))


@pytest.fixture(scope="module")
def devices(oaio_server: ServerKit, account: Account) -> Iterator[tuple[MountKit, MountKit]]:
    with mounting(oaio_server, account) as make:
        d1, d2 = make("d1", lifetime=600), make("d2", lifetime=600)
        (d1.path / "kept").mkdir()  # the end of the last object would be an empty listing: told as a warning
        yield d1, d2


@pytest.fixture
def d1(devices: tuple[MountKit, MountKit]) -> MountKit:
    return devices[0]


@pytest.fixture
def d2(devices: tuple[MountKit, MountKit]) -> MountKit:
    return devices[1]


@pytest.fixture
def place(d1: MountKit, request: pytest.FixtureRequest) -> Path:
    """A new object of the test's own on the first device."""
    folder: Path = d1.path / request.node.name
    folder.mkdir()
    return folder


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A folder tree with what trees have: modes, old times, odd names, empty and big files, an empty folder."""
    top = tmp_path / "sample"
    for folder in ("docs/deep/er", "leer", "bin"):
        (top / folder).mkdir(parents=True)
    contents = {
        "readme": b"read me\n",
        "docs/Grüße & mehr.txt": "ä\n".encode() * 1000,
        "docs/deep/er/photo.raw": random.Random(1).randbytes(3_000_001),
        "docs/deep/empty": b"",
        "bin/tool": b"#!/bin/sh\necho done\n",
        "bin/.hidden": b"\0" * 4096,
    }
    for number, (path, data) in enumerate(contents.items()):
        (top / path).write_bytes(data)
        os.utime(top / path, ns=(10**18, 1_234_567_890_123_456_789 + number))
    (top / "bin/tool").chmod(0o755)
    (top / "docs/deep/empty").chmod(0o400)
    (top / "docs").chmod(0o750)
    for number, folder in enumerate(("docs/deep/er", "docs/deep", "docs", "leer", "bin")):
        os.utime(top / folder, ns=(10**18, 10**18 + number))
    return top


# -- copying and archiving -------------------------------------------------------------------------------------------


def test_cp_in_and_out(d1: MountKit, d2: MountKit, place: Path, sample: Path, tmp_path: Path) -> None:
    run("cp", "-a", f"{sample}/.", place)
    assert details(place) == details(sample)

    there = arrived(d1, d2, place.name)
    assert files(there) == files(sample)
    remount(d1)
    run("cp", "-a", f"{place}/.", tmp_path / "out")
    assert details(tmp_path / "out") == details(sample)
    assert os.access(place / "bin/tool", os.X_OK)
    assert not os.access(place / "readme", os.X_OK)


@needs("rsync")
def test_rsync_twice(d1: MountKit, d2: MountKit, place: Path, sample: Path) -> None:
    def rsync() -> list[str]:
        return run("rsync", "-a", "--itemize-changes", f"{sample}/", place / "copy").splitlines()

    assert len(rsync()) > len(files(sample))
    assert details(place / "copy") == details(sample)
    assert rsync() == []
    assert files(arrived(d1, d2, place.name) / "copy") == files(sample)
    assert rsync() == []
    remount(d1)
    assert rsync() == []

    with open(sample / "docs/deep/er/photo.raw", "r+b") as file:
        file.write(b"changed")
    assert [line.split()[-1] for line in rsync()] == ["docs/deep/er/photo.raw"]
    assert files(arrived(d1, d2, place.name) / "copy") == files(sample)


def test_tar(d1: MountKit, d2: MountKit, place: Path, sample: Path, tmp_path: Path) -> None:
    archive = tmp_path / "sample.tar.gz"
    run("tar", "--format=posix", "-czf", archive, "-C", sample, ".")
    run("tar", "xpf", archive, cwd=place)
    assert details(place) == details(sample)
    assert files(arrived(d1, d2, place.name)) == files(sample)

    run("tar", "--format=posix", "-cf", tmp_path / "back.tar", "--exclude", SIDECAR, "-C", place, ".")
    (tmp_path / "back").mkdir()
    run("tar", "xpf", tmp_path / "back.tar", cwd=tmp_path / "back")
    assert details(tmp_path / "back") == details(sample)


# -- moving and removing ---------------------------------------------------------------------------------------------


def test_mv_between_objects(d1: MountKit, d2: MountKit, place: Path, sample: Path) -> None:
    other = d1.path / f"{place.name} other"
    other.mkdir()
    run("cp", "-a", f"{sample}/.", place)
    arrived(d1, d2, place.name)

    run("mv", place / "readme", other / "read me too")
    run("mv", place / "docs", other)
    assert sorted(os.listdir(other)) == ["docs", "read me too", SIDECAR]
    assert details(other / "docs") == details(sample / "docs")
    there = arrived(d1, d2, place.name)
    assert files(there) == files(place) == {path: data for path, data in files(sample).items() if path[:3] == "bin"}
    assert files(there.with_name(other.name)) == files(other)


def test_mv_across_the_border(d1: MountKit, d2: MountKit, place: Path, sample: Path, tmp_path: Path) -> None:
    expected = details(sample)
    run("mv", sample / "docs", sample / "bin", sample / "leer", sample / "readme", place)
    assert os.listdir(sample) == []
    assert details(place) == expected
    there = arrived(d1, d2, place.name)
    assert files(there) == files(place)

    run("mv", *(place / name for name in ("docs", "bin", "leer", "readme")), sample)
    assert details(sample) == expected
    assert files(arrived(d1, d2, place.name)) == {}


def test_mv_of_an_object_into_another(d1: MountKit, d2: MountKit, place: Path, cloud: Cloud) -> None:
    moved = d1.path / f"{place.name} moved"
    moved.mkdir()
    (moved / "note").write_text("kept")
    arrived(d1, d2, moved.name)
    run("mv", moved, place / "inner")
    assert (place / "inner/note").read_text() == "kept"
    assert not moved.exists()
    there = arrived(d1, d2, place.name)
    assert (there / "inner/note").read_text() == "kept"
    wait_for(lambda: not (d2.path / moved.name).exists(), what="the removal")
    assert moved.name not in cloud.objects()


def test_rm_r_of_an_object(d1: MountKit, d2: MountKit, place: Path, sample: Path, cloud: Cloud) -> None:
    run("cp", "-a", f"{sample}/.", place)
    there = arrived(d1, d2, place.name)
    assert files(there) == files(sample)
    run("rm", "-r", place)
    assert place.name not in os.listdir(d1.path)
    wait_for(lambda: place.name not in os.listdir(d2.path), what="the removal")
    assert place.name not in cloud.objects()


def test_a_file_takes_the_name_of_a_folder(d1: MountKit, d2: MountKit, place: Path) -> None:
    (place / "thing").mkdir()
    (place / "thing/inner").write_text("in a folder")
    (place / "other").write_text("a file")
    assert files(arrived(d1, d2, place.name)) == files(place)
    run("rm", "-r", place / "thing")
    run("mv", place / "other", place / "thing")
    assert files(arrived(d1, d2, place.name)) == {"thing": b"a file"}
    (place / "thing").unlink()
    (place / "thing").mkdir()
    (place / "thing/inner").write_text("in a folder again")
    assert files(arrived(d1, d2, place.name)) == {"thing/inner": b"in a folder again"}


def test_a_shell_in_a_folder_that_is_removed(place: Path, tmp_path: Path) -> None:
    script = """
        mkdir -p object/inner; cd object/inner; rm -r ../../object
        stat --format %F . && ls -a . ; echo $?
        touch new 2> /dev/null; echo $?; cd ..; echo $?"""
    runs = [
        subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
        for folder in (place.parent, place, tmp_path)
    ]
    assert [(one.returncode, one.stdout) for one in runs] == [(runs[2].returncode, runs[2].stdout)] * 3


# -- version control and databases -----------------------------------------------------------------------------------


@needs("git")
def test_git(d1: MountKit, d2: MountKit, place: Path, sample: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: object, folder: Path = place) -> str:
        # The change time is the kernel's own and a remount makes it anew; the rest of stat(2) must be the same.
        settings = ("-c", "user.name=me", "-c", "user.email=me@here", "-c", "core.trustctime=false")
        return run("git", *settings, *words, cwd=folder, env=environ)

    git("init", "-q")
    run("cp", "-a", f"{sample}/.", place)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert git("status", "--porcelain") == ""
    (place / "readme").write_text("read me again\n")
    git("commit", "-q", "-a", "-m", "second")
    git("repack", "-a", "-d", "-q")

    there = arrived(d1, d2, place.name)
    remount(d1)
    assert git("diff-files") == ""  # compares stat(2) with the index, and reads nothing: numbers, sizes, times
    assert git("status", "--porcelain") == ""
    assert git("log", "--format=%s", folder=there).split() == ["second", "first"]
    git("fsck", "--strict", "--no-progress", folder=there)
    git("checkout", "-q", "HEAD~1")
    assert (place / "readme").read_text() == "read me\n"


@pytest.mark.parametrize("journal", ["delete", "truncate", "wal"])
def test_sqlite(d1: MountKit, d2: MountKit, place: Path, journal: str, tmp_path: Path) -> None:
    program = """if True:
        import sqlite3, sys
        name, journal, writer = sys.argv[1:]
        database = sqlite3.connect(name, timeout=120, isolation_level=None)
        assert database.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal,)
        database.execute("CREATE TABLE IF NOT EXISTS entry (writer, number, filling)")
        for number in range(40):
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO entry VALUES (?, ?, zeroblob(3000))", (writer, number))
            database.execute("ROLLBACK" if number % 4 == 3 else "COMMIT")
        database.close()"""
    file = place / "data.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", program, file, journal, str(n)]) for n in range(3)]
    assert [writer.wait(150) for writer in writers] == [0, 0, 0]
    count = "SELECT count(*), sum(number), sum(length(filling)) FROM entry"
    there = arrived(d1, d2, place.name)
    for folder in (place, there):
        run("cp", folder / "data.sqlite", tmp_path / "copy")
        database = sqlite3.connect(tmp_path / "copy")
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute(count).fetchone() == (90, 3 * sum(n for n in range(40) if n % 4 != 3), 90 * 3000)
        database.close()


# -- ways of writing -------------------------------------------------------------------------------------------------


def test_many_threads(d1: MountKit, d2: MountKit, place: Path) -> None:
    block, blocks, threads = 7919, 12, 8
    (place / "shared").touch()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        data = bytes([number]) * block
        try:
            for index in range(blocks):
                with open(place / "shared", "r+b") as shared:
                    shared.seek((index * threads + number) * block)
                    shared.write(data)
                (place / f"own {number}.{index}.new").write_bytes(data * index)
                os.rename(place / f"own {number}.{index}.new", place / f"own {number}.{index}")
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    expected = {f"own {n}.{i}": bytes([n]) * block * i for n in range(threads) for i in range(blocks)}
    expected["shared"] = b"".join(bytes([n]) * block for _ in range(blocks) for n in range(threads))
    assert files(place) == expected
    assert files(arrived(d1, d2, place.name)) == expected


def test_dd(d1: MountKit, d2: MountKit, place: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(2).randbytes(10_000))
    plain = tmp_path / "plain"
    plain.mkdir()
    for folder in (plain, place):
        target = f"of={folder / 'target'}"
        common = ("dd", "status=none", f"if={source}", target)
        run(*common, "bs=100", "seek=12345", "count=7")
        run(*common, "bs=33", "seek=1", "skip=2", "count=11", "conv=notrunc")
        run(*common, "bs=4096", "oflag=append", "conv=notrunc,fsync")
        run(*common, "bs=1", "seek=2000001", "count=1", "conv=notrunc")
        run("truncate", "-s", "3000000", folder / "target")
    assert (place / "target").stat().st_size == 3_000_000
    assert files(place) == files(plain)
    assert files(arrived(d1, d2, place.name)) == files(plain)


def test_tee_and_a_pipeline(d1: MountKit, d2: MountKit, place: Path) -> None:
    script = "seq 1 9999 | tee a b | sort -r > c; sort -n c -o c; cmp a c; cat a b >> d; echo >> d"
    run("bash", "-ec", script, cwd=place)
    numbers = "".join(f"{n}\n" for n in range(1, 10000)).encode()
    expected = {"a": numbers, "b": numbers, "c": numbers, "d": numbers + numbers + b"\n"}
    assert files(place) == expected
    assert files(arrived(d1, d2, place.name)) == expected


def test_tail_f_of_a_log_that_is_pushed_meanwhile(d1: MountKit, d2: MountKit, place: Path) -> None:
    log, lines = place / "log", [f"line {number}\n" for number in range(30)]
    log.touch()
    tail = subprocess.Popen(["tail", "-n", "+1", "-s", "0.05", "-f", log], stdout=subprocess.PIPE)
    seen = bytearray()

    def take() -> None:
        assert tail.stdout is not None
        while data := os.read(tail.stdout.fileno(), 65536):
            seen.extend(data)

    reader = threading.Thread(target=take)
    reader.start()
    try:
        with open(log, "a") as writer:
            for number, line in enumerate(lines):
                writer.write(line)
                writer.flush()
                if number % 10 == 9:
                    os.fsync(writer.fileno())
                    d1.sync()
        text = "".join(lines)
        wait_same(seen.decode, text)
        assert log.read_text() == text
        assert (arrived(d1, d2, place.name) / "log").read_text() == text
        assert seen.decode() == text
    finally:
        tail.terminate()
        tail.wait()
        reader.join()
        assert tail.stdout is not None
        tail.stdout.close()


def test_mmap(d1: MountKit, d2: MountKit, place: Path) -> None:
    """Stores through a map reach the other device, also those made after the descriptor was closed."""
    program = """if True:
        import mmap, os, sys
        descriptor = os.open(sys.argv[1], os.O_RDWR)
        shown = mmap.mmap(descriptor, 0)
        shown[5000:5005] = b"early"
        shown.flush()
        os.close(descriptor)
        shown[9000:9004] = b"late"
        shown.close()"""
    file, expected = place / "mapped", bytearray(3 * mmap.PAGESIZE)
    file.write_bytes(expected)
    arrived(d1, d2, place.name)
    run(sys.executable, "-c", program, file)
    expected[5000:5005], expected[9000:9004] = b"early", b"late"
    assert file.read_bytes() == expected
    assert (arrived(d1, d2, place.name) / "mapped").read_bytes() == expected


def test_the_mtime_of_a_file_just_made_stays(d1: MountKit, place: Path) -> None:
    """The kernel keeps its own mtime, and does not tell it where the first write follows at once."""
    for number in range(20):
        (place / f"file {number}").write_bytes(b"x")
    shown = details(place)
    remount(d1)
    assert details(place) == shown


# -- file managers ---------------------------------------------------------------------------------------------------


def test_no_trash_in_the_root(d1: MountKit, place: Path, cloud: Cloud) -> None:
    known = set(os.listdir(d1.path))
    refused(errno.EPERM, lambda: (d1.path / ".Trash-0").mkdir(0o700))
    for name in (".Trash", ".Trash-0", ".hidden", ".directory", ".xdg-volume-info", "autorun.inf"):
        for folder in (d1.path, place):
            refused(errno.ENOENT, (folder / name).stat)
    assert set(os.listdir(d1.path)) == known
    d1.sync()
    assert set(cloud.objects()) == known


@needs("gio")
def test_gio(d1: MountKit, d2: MountKit, place: Path, sample: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def gio(*words: object) -> str:
        return run("gio", *words, env=environ)

    photo = sample / "docs/deep/er/photo.raw"
    gio("copy", "--preserve", photo, place / "photo")
    assert (place / "photo").stat().st_mtime_ns // 1000 == photo.stat().st_mtime_ns // 1000
    assert sorted(gio("list", "--hidden", place).split()) == ["photo", SIDECAR]
    gio("rename", place / "photo", "image")
    gio("move", place / "image", place / "picture")
    gio("mkdir", place / "folder")
    gio("move", place / "picture", place / "folder")
    expected = {"folder/picture": photo.read_bytes()}
    assert files(arrived(d1, d2, place.name)) == files(place) == expected

    trash = subprocess.run(
        ["gio", "trash", place / "folder/picture"], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert trash.returncode != 0
    assert "trash" in trash.stderr
    assert files(place) == expected
    gio("remove", place / "folder/picture", place / "folder")
    assert files(arrived(d1, d2, place.name)) == {}

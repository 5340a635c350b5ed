"""Which files are here: limits, pins and evictions in real mounts, and what programs are told about it."""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.depth import deep
from tests.mountkit import (
    PATIENCE,
    Account,
    Cloud,
    MountKit,
    MountMaker,
    mounting,
    needs_fuse,
    tree,
    wait_for,
    wait_same,
)

from .refusing import refused
from .rows import cloud, here, make, make_object, owner, remount, xattr
from .switched import SwitchedServer, server
from .test_kill import DEAD_MOUNT, NOT_YET_MADE, SEED, local_files
from .test_offline import OFFLINE

__all__ = ["cloud", "here", "make", "owner", "remount", "server"]

pytestmark = needs_fuse

KIB = 1024
SIZE = 64 * KIB
KILLS = deep(3, 40)


def content(name: str, size: int = SIZE) -> bytes:
    """Bytes of a file that no two files share, and no block of which is empty."""
    return random.Random(name).randbytes(size)


def fill(place: Path, *names: str) -> None:
    for name in names:
        (place / name).write_bytes(content(name))


def bytes_here(kit: MountKit) -> int:
    """What the files in the working copies take on the disk, sidecars left out."""
    found = [path for path in (kit.client_root / "objects").glob("*/**/*") if path.name != "values.json"]
    return sum(path.stat().st_blocks * 512 for path in found if path.is_file())


def files_here(kit: MountKit) -> set[str]:
    found = (kit.client_root / "objects").glob("*/**/*")
    return {path.name for path in found if path.is_file() and path.name != "values.json"}


def du(path: Path) -> int:
    """Bytes that programs believe to be on this machine."""
    done = subprocess.run(["du", "-s", "-B1", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


# -- limits ------------------------------------------------------------------------------------------------------------


def test_never_more_than_the_limit_and_one_file(new_mount: MountMaker, cloud: Cloud) -> None:
    """Filled beyond it: the oldest go, and open again; what is pinned, unsent or open stays."""
    kit = new_mount("full", arguments=(f"--cache-size={4 * SIZE}",))
    place = kit.path / "album"
    place.mkdir()
    names = [f"{number:02}.raw" for number in range(12)]
    os.setxattr(place, "user.oaio.pin", b"0")
    fill(place, "pinned.raw")
    os.setxattr(place / "pinned.raw", "user.oaio.pin", b"1")
    fill(place, "open.raw")
    kit.sync()
    with (place / "open.raw").open("rb") as reader:
        for name in names:
            fill(place, name)
            kit.sync()
            wait_for(lambda: bytes_here(kit) <= 5 * SIZE, what="the limit")
        wait_for(lambda: bytes_here(kit) <= 4 * SIZE, what="the limit at rest")
        assert files_here(kit) == {"pinned.raw", "open.raw", *names[-2:]}
        assert reader.read() == content("open.raw")
    for name in names:
        assert (place / name).read_bytes() == content(name)
    wait_for(lambda: bytes_here(kit) <= 4 * SIZE, what="the limit at rest")
    status = kit.status()
    assert status["cache_size"] == 4 * SIZE
    assert (status["total_bytes"], status["pinned_bytes"]) == (14 * SIZE, SIZE)
    assert SIZE <= status["local_bytes"] <= 4 * SIZE
    assert kit.shown("album")["local_bytes"] == status["local_bytes"]


def test_unsent_files_stay_and_a_mapped_one_too(new_mount: MountMaker) -> None:
    kit = new_mount("writer", quiet=60.0, arguments=("--cache-size=1",))
    place = make_object(kit, "desk")
    fill(place, "mapped.raw")
    kit.sync()
    with (place / "mapped.raw").open("rb") as reader:
        mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
    fill(place, "unsent.raw", "more.raw")  # the mapping outlives its descriptor
    kit.ask("evict", paths=[["desk", "desk"]])
    assert files_here(kit) == {"mapped.raw", "unsent.raw", "more.raw"}
    assert mapped[:] == content("mapped.raw")
    mapped.close()
    wait_same(lambda: files_here(kit), {"unsent.raw", "more.raw"})
    kit.sync()
    wait_same(lambda: files_here(kit), set())
    assert {name: (place / name).read_bytes() for name in ("mapped.raw", "unsent.raw")} == {
        name: content(name) for name in ("mapped.raw", "unsent.raw")
    }


def test_the_disk_keeps_room(new_mount: MountMaker) -> None:
    kit = new_mount("floor", arguments=("--cache-free=900T",))
    place = make_object(kit, "shelf")
    fill(place, "a.raw", "b.raw")
    kit.sync()
    wait_same(lambda: files_here(kit), set())
    assert (place / "a.raw").read_bytes() == content("a.raw"), "what is asked for comes all the same"


def test_offline_what_was_evicted_is_refused(server: SwitchedServer) -> None:
    account = Account(*server.kit.fresh_user("away"))
    with mounting(server.kit, account) as make:
        kit = make("away")
        kit.expect(OFFLINE, r"WARNING oaiofs\.sync: \w+ of ")
        place = make_object(kit, "bag")
        fill(place, "a.raw", "b.raw")
        kit.sync()
        before = (place / "a.raw").stat()
        done = kit.oaiofs("evict", place / "a.raw")
        assert (done.returncode, done.stdout) == (0, "1 file evicted, 64.0 KiB freed.\n")
        server.off()
        wait_for(lambda: not kit.status()["online"], what="offline")
        refused(errno.ENETUNREACH, (place / "a.raw").read_bytes)
        after = (place / "a.raw").stat()
        same = ("st_ino", "st_mode", "st_size", "st_mtime_ns", "st_uid", "st_nlink")
        assert [getattr(after, field) for field in same] == [getattr(before, field) for field in same]
        assert (place / "b.raw").read_bytes() == content("b.raw")
        server.on()
        wait_for(lambda: (place / "a.raw").read_bytes() == content("a.raw"))


def test_killed_while_copies_come_and_go(new_mount: MountMaker, cloud: Cloud) -> None:
    """Whatever moment it is: each file is whole or a placeholder, and nothing is sent that nobody wrote."""
    print("seed", SEED)
    chance = random.Random(SEED)
    kit = new_mount("killed", start=False, arguments=(f"--cache-size={3 * SIZE}",))
    kit.expect(DEAD_MOUNT, NOT_YET_MADE)
    kit.start()
    place = kit.path / "shared"
    place.mkdir()
    names = [f"{number:02}.txt" for number in range(16)]
    fill(place, *names)
    kit.sync()
    versions = cloud_of(kit).stamps("shared")
    went = came = rounds = 0
    while rounds < KILLS or (rounds < 3 * KILLS and not (went and came)):  # on a busy machine it may see too little
        rounds += 1
        with ThreadPoolExecutor(3) as readers:
            before = {path.name for path in local_files(kit.client_root)}
            reading = [readers.submit(read_some, place, chance.sample(names, len(names))) for _ in range(3)]
            enough = chance.randint(1, 20)
            seen = set(before)
            with suppress(AssertionError):
                wait_for(lambda: grown(seen, kit) >= enough + len(before), 1)  # noqa: B023
            if rounds > KILLS:
                wait_for(lambda: seen - {path.name for path in local_files(kit.client_root)})  # noqa: B023
            kit.kill()
            for one in reading:
                one.result(PATIENCE)
        after = {path.name for path in local_files(kit.client_root)}
        went, came = went + len(seen - after), came + len(seen - before)
        for path in local_files(kit.client_root):
            assert path.read_bytes() == content(path.name), "half a file"
        kit.start()
        assert kit.problems() == []
    assert {name: (place / name).read_bytes() for name in names} == {name: content(name) for name in names}
    kit.sync()
    assert cloud_of(kit).stamps("shared") == versions
    assert went
    assert came
    print(f"{rounds} kills survived, while {came} copies came and {went} went")


def cloud_of(kit: MountKit) -> Cloud:
    return Cloud(kit.server, kit.account)


def grown(seen: set[str], kit: MountKit) -> int:
    seen |= {path.name for path in local_files(kit.client_root)}
    return len(seen)


def read_some(place: Path, names: list[str]) -> None:
    with suppress(OSError):  # the mount is killed
        for name in names * 20:
            assert (place / name).read_bytes() == content(name)


# -- pins --------------------------------------------------------------------------------------------------------------


def attr(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)


def test_pin_by_attribute(here: MountKit, remount: MountKit) -> None:
    make_object(here, "pinned", a_txt="one", b_txt="two")
    there = remount.path / "pinned"
    wait_for(there.exists)
    assert attr("setfattr", "-n", "user.oaio.pin", "-v", "1", there / "a.txt").returncode == 0
    wait_same(lambda: files_here(remount), {"a.txt"})
    done = attr("getfattr", "--only-values", "-n", "user.oaio.pin", there / "a.txt")
    assert (done.returncode, done.stdout) == (0, "1")
    assert attr("getfattr", "-n", "user.oaio.pin", there / "b.txt").returncode == 1
    assert os.listxattr(there / "a.txt") == [], "cp -a does not take it along"
    assert attr("setfattr", "-n", "user.oaio.pin", "-v", "1", there).returncode == 0
    wait_same(lambda: files_here(remount), {"a.txt", "b.txt"})
    assert xattr(there / "b.txt", "pin") == "inherited"
    (here.path / "pinned" / "a.txt").write_text("newer")
    (here.path / "pinned" / "c.txt").write_text("three")
    wait_same(lambda: {path.name: path.read_text() for path in local_files(remount.client_root)},
              {"a.txt": "newer", "b.txt": "two", "c.txt": "three"})  # fmt: skip
    remount.stop()
    remount.start()
    assert (xattr(there, "pin"), xattr(there / "c.txt", "pin")) == ("1", "inherited")
    for path in (there, there / "a.txt"):
        assert attr("setfattr", "-x", "user.oaio.pin", path).returncode == 0
    refused(errno.ENODATA, lambda: xattr(there / "a.txt", "pin"))
    refused(errno.ENODATA, lambda: os.removexattr(there, "user.oaio.pin"))
    refused(errno.EINVAL, lambda: os.setxattr(there, "user.oaio.pin", b"perhaps"))


def test_the_commands(here: MountKit, remount: MountKit) -> None:
    place = make_object(here, "commanded", a_txt="one")
    (place / "d").mkdir()
    (place / "d" / "b.txt").write_text("two")
    here.sync()
    there = remount.path / "commanded"
    wait_for((there / "d" / "b.txt").exists)
    done = remount.oaiofs("pin", there / "d")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "commanded/d is pinned."
    wait_same(lambda: files_here(remount), {"b.txt"})
    assert (there / "a.txt").read_text() == "one"
    done = remount.oaiofs("evict", remount.path)
    assert "1 file evicted, 4.0 KiB freed.\n" in done.stdout
    assert "1 file kept: pinned.\n" in done.stdout
    done = remount.oaiofs("unpin", there / "d" / "b.txt")
    assert done.stdout == (
        "commanded/d/b.txt had no pin.\ncommanded/d/b.txt stays pinned with commanded/d: `oaiofs unpin` that.\n"
    )
    answer = json.loads(remount.oaiofs("unpin", remount.path, "--json").stdout)
    assert answer == {"unpinned": [{"path": "", "pins": 1}], "held": []}
    assert remount.oaiofs("evict", there / "nowhere").returncode == 1
    shown = remount.oaiofs("status", there).stdout
    assert "  files    3 B of 6 B on this machine\n" in shown
    remount.stop()
    for words in (("pin", "commanded/d"), ("unpin", "commanded"), ("evict", "commanded")):
        done = remount.oaiofs(*words, "--client-root", remount.client_root)
        assert (done.returncode, done.stderr) == (0, ""), "as well without a mount"
    remount.start()
    assert files_here(remount) == set()
    assert (there / "d" / "b.txt").read_text() == "two"


# -- what programs make of it ------------------------------------------------------------------------------------------


@pytest.fixture
def far(here: MountKit, remount: MountKit, request: pytest.FixtureRequest) -> Path:
    """An object of which the mount ``remount`` has only placeholders."""
    name = "".join(char if char.isalnum() else "_" for char in request.node.name)
    place = here.path / name
    place.mkdir()
    fill(place, "a.raw")
    (place / "b.txt").write_text("some words\n" * 5000)
    here.sync()
    there = remount.path / name
    wait_for((there / "b.txt").exists)
    return there


def copied(place: Path, target: Path, *words: str) -> dict[str, bytes | None]:
    target.mkdir()
    subprocess.run([*words, *map(str, place.glob("*.*")), str(target)], check=True)
    return tree(target)


def test_du_tells_what_is_here(far: Path, remount: MountKit) -> None:
    file = far / "a.raw"
    assert 0 < du(file) <= 512
    assert (file.stat().st_size, file.stat().st_blocks) == (SIZE, 1)
    file.read_bytes()
    assert du(file) == SIZE
    remount.ask("evict", paths=[["", ""]])
    wait_same(lambda: du(file), 512)
    (far / "new.raw").write_bytes(content("new.raw"))
    assert SIZE <= du(far / "new.raw") <= SIZE + 8 * KIB
    os.truncate(far / "new.raw", 1 << 20)
    assert du(far / "new.raw") < 1 << 20, "as on a disk: a hole takes no room"


def test_a_file_whose_bytes_are_still_in_the_kernel_has_blocks(here: MountKit) -> None:
    """tar -S does not read a file without any, whatever its size."""
    place = make_object(here, "unwritten")
    with (place / "new.raw").open("wb") as writer:
        assert (place / "new.raw").stat().st_blocks > 0
        writer.write(content("new.raw"))
        writer.flush()
        status = (place / "new.raw").stat()
        assert (status.st_size, status.st_blocks > 0) == (SIZE, True)


def tar_sparse(place: Path, target: Path) -> dict[str, bytes | None]:
    target.mkdir()
    made = target.with_suffix(".tar")
    subprocess.run(["tar", "-S", "-C", str(place), "-cf", str(made), "."], check=True)
    subprocess.run(["tar", "-C", str(target), "-xf", str(made)], check=True)
    return tree(target)


@pytest.mark.parametrize(
    "way",
    [
        tar_sparse,
        lambda place, target: copied(place, target, "cp"),
        lambda place, target: copied(place, target, "cp", "--sparse=always"),
        lambda place, target: copied(place, target, "rsync", "-S"),
    ],
    ids=["tar -S", "cp", "cp --sparse=always", "rsync -S"],
)
def test_no_program_takes_a_placeholder_for_a_hole(
    far: Path, tmp_path: Path, way: Callable[[Path, Path], dict[str, bytes | None]]
) -> None:
    """Copied as placeholders, and once more as local files; and one that the kernel has not written down yet."""
    expected = {"a.raw": content("a.raw"), "b.txt": b"some words\n" * 5000}
    for name in ("first", "again"):
        found = way(far, tmp_path / name)
        assert {path: found[path] for path in expected} == expected, name
    with (far / "late.raw").open("wb") as writer:
        writer.write(content("late.raw"))
        writer.flush()
        assert way(far, tmp_path / "late")["late.raw"] == content("late.raw")


def test_grep_does_not_take_a_placeholder_for_binary(far: Path) -> None:
    done = subprocess.run(["grep", "-c", "some words", far / "b.txt"], capture_output=True, text=True, check=True)
    assert done.stdout == "5000\n"


def test_a_sparse_file_is_the_same_after_eviction(here: MountKit, cloud: Cloud) -> None:
    place = make_object(here, "holes")
    with (place / "sparse.raw").open("wb") as writer:
        writer.truncate(2 << 20)
        writer.seek(1 << 20)
        writer.write(b"in the middle")
    expected = (place / "sparse.raw").read_bytes()
    here.sync()
    assert cloud.version(cloud.objects()["holes"]) == {"sparse.raw": expected}
    answer = here.ask("evict", paths=[["holes/sparse.raw", "holes/sparse.raw"]])
    assert answer["files"] == 1
    assert (place / "sparse.raw").read_bytes() == expected
    copy = shutil.copy(place / "sparse.raw", here.folder / "copy")
    assert Path(copy).read_bytes() == expected
    assert here.ask("check", deep=True)["problems"] == []

"""What somebody put into a client root by hand and no object can hold, or nobody can look at: it opens all the same."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oaiofs.cache import check, tree
from oaiofs.cache.store import Head, Store
from tests.cache.conftest import Root
from tests.cache.unclean import head, is_dirty, place, with_placeholder

__all__ = ["head"]


def test_something_that_is_no_file_is_left_alone(root: Root, head: Head) -> None:
    os.mkfifo(place(root, head, "pipe"))
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}
    assert place(root, head, "pipe").exists()


NO_TEXT = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("path", ["{}.txt", "{}/inside", "d/{}", "d/{}/inside"])
def test_a_name_that_is_no_text_is_left_alone(
    root: Root, head: Head, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    stray, found = place(root, head, path.format(NO_TEXT)), place(root, head, "d/found.txt")
    for one in (stray, found):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"by hand")
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt", "d/found.txt"}
    assert stray.read_bytes() == b"by hand"
    assert "caf\\xe9" in caplog.text
    assert "is left alone: its name is no UTF-8" in caplog.text
    root.reopen()


def test_a_file_renamed_to_what_is_no_text_is_left_alone(root: Root, head: Head) -> None:
    place(root, head, "a.txt").rename(place(root, head, NO_TEXT))
    root.reopen()
    assert not root.store.attached(head.key)["a.txt"].local
    assert place(root, head, NO_TEXT).read_bytes() == b"first"


@pytest.mark.parametrize("folder", ["objects", "detached", "staging", "trash", "versions"])
def test_a_name_that_is_no_text_anywhere_in_the_client_root(root: Root, head: Head, folder: str) -> None:
    (root.path / folder / f"{NO_TEXT}.7").mkdir(parents=True)
    (root.path / folder / f"{NO_TEXT}.7" / "inside").write_bytes(b"by hand")
    (root.path / folder / f"{NO_TEXT}.json").write_bytes(b"{}")
    root.wrong_on_purpose = "the check tells what it can't mend"
    for lost in (False, True):
        if lost:
            root.store.close(clean=False)
            for file in root.path.glob("state.db*"):
                file.unlink()
            root.store = Store(root.path)
        root.reopen()
        told = [str(one) for one in check.examine_root(root.store, in_use=False)]
        assert all(one.isprintable() for one in told)
        assert set(root.store.by_name) == {"Notes"}
        assert (root.path / folder / f"{NO_TEXT}.7" / "inside").exists() == (folder != "staging")


@pytest.mark.parametrize("depth", [105, 1200])
def test_folders_nested_deeper_than_anybody_would_nest_them(root: Root, head: Head, depth: int) -> None:
    nest(place(root, head, ""), "n", depth)
    try:
        root.reopen()
        root.reopen()
        nodes = dict(root.store.walk(head.key))
        assert len(nodes) == depth + len(("leaf", "a.txt", "b.txt", "values.json"))
        assert root.store.work_path(nodes["n/" * depth + "leaf"]) == f"objects/{head.folder}/{'n/' * depth}leaf"
    finally:
        subprocess.run(["rm", "-rf", place(root, head, "n")], check=True)  # Python's own is recursive
    place(root, head, "n").write_bytes(b"a file")
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt", "n"}


def test_a_path_longer_than_the_system_can_name_is_left_alone(
    root: Root, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    nest(place(root, head, ""), "n" * 250, 18)
    root.reopen()
    assert "is left alone: File name too long" in caplog.text
    assert all(path.rpartition("/")[2] != "leaf" for path in root.store.attached(head.key))
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}


def nest(folder: Path, name: str, depth: int) -> None:
    """Folders in folders with a file in the last, as is done step by step: the path may be longer than one may be."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
def test_something_else_where_the_sidecar_was(root: Root, head: Head, make: Callable[[Path], None]) -> None:
    place(root, head, "values.json").unlink()
    make(place(root, head, "values.json"))
    root.reopen()
    root.reopen()
    now = root.store.heads[head.key]
    assert json.loads(root.content(now, now.sidecar)) == {"_name": "Notes"}
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}


def test_a_folder_with_files_where_the_sidecar_was(root: Root, head: Head) -> None:
    place(root, head, "values.json").unlink()
    place(root, head, "values.json").mkdir()
    place(root, head, "values.json/inside").write_bytes(b"by hand")
    root.reopen()
    now = root.store.heads[head.key]
    assert now.sidecar == "values~.json"
    assert json.loads(root.content(now, now.sidecar)) == {"_name": "Notes"}
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt", "values.json/inside"}
    assert is_dirty(root, head)


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_something_else_where_the_working_copy_was(root: Root, head: Head, make: Callable[[Path], None]) -> None:
    shutil.rmtree(place(root, head, ""))
    make(place(root, head, ""))
    root.reopen()
    assert {path: node.local for path, node in root.store.attached(head.key).items()} == {
        "a.txt": False, "b.txt": False
    }  # fmt: skip
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes"}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
def test_something_else_where_the_label_was(root: Root, head: Head, make: Callable[[Path], None]) -> None:
    """A pipe keeps nobody waiting."""
    label = root.path / "objects" / f"{head.folder}.json"
    label.unlink()
    make(label)
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}
    assert not is_dirty(root, head)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """To root, too, is closed what its mode closes: the capabilities that open it are put aside."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, kept = struct.pack("Ii", _CAPABILITIES_V3, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, kept) == 0
    effective, *others = struct.unpack("6I", kept.raw)
    assert libc.capset(header, struct.pack("6I", effective & ~_OPENING, *others)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, kept) == 0


_CAPABILITIES_V3 = 0x20080522  # linux/capability.h
_OPENING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def close(path: Path) -> None:
    """Let nobody read, write or enter it."""
    path.chmod(0)
    assert not os.access(path, os.R_OK, effective_ids=True)


def unknown_file(root: Root, head: Head) -> None:
    place(root, head, "found.txt").touch()
    close(place(root, head, "found.txt"))


def unknown_folder(root: Root, head: Head) -> None:
    place(root, head, "d").mkdir()
    close(place(root, head, "d"))


def known_folder(root: Root, head: Head) -> None:
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    root.file(folder.ino, "inside.txt", b"inside")
    close(place(root, head, "d"))


def sidecar(root: Root, head: Head) -> None:
    close(place(root, head, "values.json"))


def written_sidecar(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "values.json"), b'{"_name": "Notes", "k": 1}')  # type: ignore[arg-type]
    close(place(root, head, "values.json"))


def expected_placeholder(root: Root, head: Head) -> None:
    with_placeholder(root, head)
    place(root, head, "a.txt").write_bytes(b"far")
    close(place(root, head, "a.txt"))


def label(root: Root, head: Head) -> None:
    close(root.path / "objects" / f"{head.folder}.json")


def unknown_working_copy(root: Root, head: Head) -> None:
    (root.path / "objects" / "Lost.7").mkdir()
    close(root.path / "objects" / "Lost.7")


def detached_file(root: Root, head: Head) -> None:
    (root.path / "detached" / "77").touch()
    close(root.path / "detached" / "77")


def detached_folder(root: Root, head: Head) -> None:
    (root.path / "detached" / "77").mkdir()
    close(root.path / "detached" / "77")


def staged_folder(root: Root, head: Head) -> None:
    (root.path / "staging" / "1-1").mkdir()
    close(root.path / "staging" / "1-1")


CLOSED = [unknown_file, unknown_folder, known_folder, sidecar, written_sidecar, expected_placeholder, label,
          unknown_working_copy, detached_file, detached_folder, staged_folder]  # fmt: skip


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize("made", CLOSED, ids=lambda made: made.__name__)
def test_what_is_closed_to_its_owner_keeps_nobody_from_mounting(
    root: Root, head: Head, made: Callable[[Root, Head], None]
) -> None:
    """And what was beside it is mended."""
    root.wrong_on_purpose = "what can't be looked at may be anything"
    place(root, head, "beside.txt").write_bytes(b"beside")
    made(root, head)
    root.reopen()
    root.reopen()
    assert {"a.txt", "b.txt", "beside.txt"} <= set(root.store.attached(head.key))
    assert set(root.store.by_name) == {"Notes"}
    if made is known_folder:
        assert "d/inside.txt" in root.store.attached(head.key)
    if made is sidecar:
        assert json.loads(root.content(head, "values.json")) == {"_name": "Notes"}
    if made is written_sidecar:
        place(root, head, "values.json").chmod(0o600)
        root.reopen()
        assert root.store.record(head.key).values == {"_name": "Notes", "k": 1}


@pytest.mark.logs_errors
@pytest.mark.usefixtures("ordinary_user")
def test_a_closed_working_copy_keeps_no_other_from_being_mended(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "what can't be looked at may be anything"
    other = root.object("Other")
    place(root, other, "found.txt").write_bytes(b"found")
    close(place(root, head, ""))
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}
    assert set(root.store.attached(other.key)) == {"found.txt"}
    place(root, head, "").chmod(0o700)
    place(root, head, "later.txt").write_bytes(b"later")
    root.reopen(clean=True)  # which it says, and is not
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt", "later.txt"}

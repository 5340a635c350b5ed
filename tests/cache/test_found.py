"""Bytes that no row speaks of, where something else has to be: kept, and shown as a conflict copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oaiofs.cache import apply, objects, records, trash, tree
from oaiofs.cache.records import Kind
from oaiofs.cache.store import Head
from tests.cache.conftest import Root, fact, remote_object

LATER = "20260202000000000000"


@pytest.fixture
def head(root: Root) -> Head:
    """An object with an agreed file."""
    made = root.object()
    root.file(made.ino, "a.txt", b"first")
    root.agree(made)
    return made


def put(root: Root, head: Head, path: str, data: bytes = b"stray") -> None:
    place = root.path / "objects" / head.folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def the_copy(root: Root, head: Head, stem: str = "x", content: bytes = b"stray") -> str:
    """The conflict copy that holds the stray bytes, as rows and disk and the list of conflicts have it."""
    (copy,) = [path for path in root.store.attached(head.key) if path.startswith(f"{stem} (conflict ")]
    assert root.content(head, copy) == content
    assert root.store.attached(head.key)[copy].dirty
    assert root.store.record(head.key).dirty
    assert copy in {one.copy for one in records.conflicts(root.store.db)}
    return copy


def test_a_new_file_does_not_empty_it(root: Root, head: Head, caplog: pytest.LogCaptureFixture) -> None:
    put(root, head, "x.txt")
    root.file(head.ino, "x.txt", b"new")
    assert root.content(head, "x.txt") == b"new"
    the_copy(root, head)
    assert "was found where something else has to be" in caplog.text


def test_one_without_bytes_makes_room(root: Root, head: Head) -> None:
    put(root, head, "x.txt", b"")
    (root.path / "objects" / head.folder / "y.txt").mkdir()
    root.file(head.ino, "x.txt", b"new")
    root.file(head.ino, "y.txt", b"new")
    assert set(root.store.attached(head.key)) == {"a.txt", "x.txt", "y.txt"}


def test_a_rename_does_not_replace_it(root: Root, head: Head) -> None:
    put(root, head, "x.txt")
    tree.rename(root.store, root.store.attached(head.key)["a.txt"], head.ino, "x.txt")
    assert root.content(head, "x.txt") == b"first"
    the_copy(root, head)


def test_a_renamed_folder_does_not_hide_it(root: Root, head: Head) -> None:
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    root.file(folder.ino, "inside", b"inside")
    target = tree.make_folder(root.store, head.ino, "x", 0o755)
    put(root, head, "x/deep/stray.txt")
    tree.rename(root.store, folder, head.ino, "x")
    assert root.store.find_node(target.ino) is None
    assert root.content(head, "x/inside") == b"inside"
    (kept,) = [path for path in root.store.attached(head.key) if path.endswith("/deep/stray.txt")]
    assert kept.startswith("x (conflict ")
    assert root.content(head, kept) == b"stray"
    assert records.intents(root.store.db) == []


def test_a_conflict_copy_from_the_servers_side_does_not_replace_it(root: Root, head: Head) -> None:
    """The name is free as far as the rows know."""
    root.write(root.store.attached(head.key)["a.txt"], b"mine")
    name = f"a (conflict one {LATER}).txt"
    put(root, head, name)
    files = {"a.txt": fact(b"theirs")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert root.content(head, name) == b"mine"
    the_copy(root, head, f"a (conflict one {LATER})")


def test_a_folder_from_the_servers_takes_its_name(root: Root, head: Head) -> None:
    put(root, head, "x")
    files = {"x/deep/f.txt": fact(b"far")}
    applied = root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert (root.path / "objects" / head.folder / "x" / "deep").is_dir()
    copy = the_copy(root, head)
    assert (head.ino, copy) in applied.names, "the kernel is told"


def test_a_download_does_not_replace_it(root: Root, head: Head) -> None:
    files = {"x.txt": fact(b"far")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    put(root, head, "x.txt")
    (root.path / "staging" / "download").write_bytes(b"far")
    node = root.store.attached(head.key)["x.txt"]
    assert apply.hydrated(root.store, node.ino, "staging/download", 3, fact(b"far").md5)
    assert root.content(head, "x.txt") == b"far"
    the_copy(root, head)


def test_a_rename_that_a_kill_left_does_not_replace_it(root: Root, head: Head) -> None:
    """It came into the working copy between the kill and the next start."""
    node = root.store.attached(head.key)["a.txt"]
    with root.store.state.transaction():
        source, inode = root.store.work_path(node), root.store.files.stat(root.store.work_path(node)).st_ino
        objects.move_later(root.store, source, f"objects/{head.folder}/x.txt", inode)
        root.store.update_node(node.ino, name="x.txt")
    put(root, head, "x.txt")
    root.reopen()
    assert root.content(head, "x.txt") == b"first"
    the_copy(root, head)


def test_in_the_trash_both_stay(root: Root, head: Head) -> None:
    (root.path / "trash" / head.folder).mkdir()
    (root.path / "trash" / head.folder / "older").write_bytes(b"older")
    trash.leave(root.store, root.store.record(head.key), "test")
    assert (root.path / "trash" / head.folder / "a.txt").read_bytes() == b"first"
    assert {path.read_bytes() for path in (root.path / "trash").rglob("older")} == {b"older"}
    root.wrong_on_purpose = "what stood in the trash has no note"


def test_what_is_neither_file_nor_folder_makes_room_too(root: Root, head: Head) -> None:
    os.mkfifo(root.path / "objects" / head.folder / "x.txt")
    root.file(head.ino, "x.txt", b"new")
    assert root.content(head, "x.txt") == b"new"
    assert set(root.store.attached(head.key)) == {"a.txt", "x.txt"}
    (kept,) = [path for path in Path(root.path, "objects", head.folder).iterdir() if "conflict" in path.name]
    assert kept.is_fifo()
    assert all(node.kind is Kind.FILE for node in root.store.attached(head.key).values())
